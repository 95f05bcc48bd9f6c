/** What a stranger may cost us at the Nostr door beside what `wire/limits.ts` says of every door, each with its reason. */
export const DOOR_LIMITS = {
  /** Characters of a subscription's id: takers of today take the relay's URL into it, 89 with an onion address. */
  subscriptionIdChars: 256,
  /** Subscriptions of a connection: a taker has one. */
  subscriptions: 20,
  /** Characters of all its subscriptions together, as they were asked for: what is kept for a connection. A taker's has 120. */
  subscriptionChars: 65_536,
  /** Filters of one REQ, and values (ids, authors, kinds, tags) in all of them: each is compared with each event. */
  filters: 10,
  filterValues: 1_000,
  /** Events that are looked at and sent in one piece of work: 25 kB, a fraction of a millisecond. */
  eventsPerPiece: 40,
  /** Pings keep a taker's Tor stream alive, which waits 30 s for anything to come. */
  pingMs: 25_000,
  /**
   * Bytes that a client may leave unread before its next piece waits. What the kernel takes comes first, so this slows
   * nobody who reads; a thousand readers that never read hold 90 MB with it.
   */
  unsentBytes: 65_536,
  /** Of a request's head: the market's programs send 200. */
  headBytes: 8_192,
  /** Characters of the id of an event that is no event, told with the refusal. */
  echoedIdChars: 256,
} as const satisfies Record<string, number>

export const SHELF_LIMITS = {
  /** How often is looked whether bonds have come or gone; who asks meanwhile has it looked at once. */
  lookMs: 250,
  /** Every event is signed anew within this, at a moment of its own in the second half. Takers skip what is a day old. */
  signedAnewS: 1_800,
  /** Signatures in one piece of work: 0.5 ms each, twice that on a busy machine. */
  signaturesPerPiece: 2,
} as const satisfies Record<string, number>

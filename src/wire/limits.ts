/** What a stranger may cost us, each with its reason. The operator may change those that are settings. */
export const WIRE_LIMITS = {
  /** The largest legitimate request, 1,000 outpoints, takes 47 kB. */
  frameBytesMax: 65_536,
  /** Idle ones cost about 4 kB each; far below the usual limit of open files. */
  connectionsMax: 1_024,
  /** Nothing is asked for this long: the slot is worth more to somebody else. */
  idleMsMax: 300_000,
  /** A subscriber waits for things that may not happen for hours. */
  subscribedIdleMsMax: 86_400_000,
  /** From a frame's first byte to its last, Tor's slowest circuits included. */
  frameMsMax: 10_000,
  /**
   * Units a client may spend for long (`work.ts`): a watching wallet polls five outpoints every 3 s, a taker that walks a
   * list of 10,000 bonds takes 3.7 MB. Beyond this we stop reading, we drop nothing.
   */
  unitsPerS: 200,
  /** And at once: a wallet that comes back subscribes to 10,000 outpoints, and bitcoind is asked about each. */
  unitsBurst: 24_000,
  /**
   * Bytes a client may leave unread before its requests and pushes wait, and the piece in which a longer reply is handed
   * to the socket. A list of 1,000 makers (69 kB) goes in one. A thousand clients who never read hold 128 MB at the most,
   * less where it is the same list.
   */
  unsentBytesMax: 131_072,
  /**
   * Such a client is cut off when no piece has been taken for this long. Takers themselves give up after 60 s. Pushes
   * that wait meanwhile are one per subscription, each made when its turn comes: nothing piles up.
   */
  unsentMsMax: 60_000,
  /**
   * Replies longer than a piece that are on their way, all together: eight of the largest there are. Beyond it the client
   * that has taken nothing for longest is cut off.
   */
  backlogBytesMax: 67_108_864,
  /** After our last word its bytes are still read and dropped this long: closing on unread bytes would void that word. */
  lingerMsMax: 2_000,
  /** What a stop grants to requests being answered; it is to be over within a second. */
  stopMsMax: 500,
  /** All deadlines are looked after, and allowances looked at again, this often: one timer for all connections. */
  sweepMs: 1_000,
} as const satisfies Record<string, number>

export type WireLimits = { readonly [K in keyof typeof WIRE_LIMITS]: number }

/** Bonds on a page of `Bonds`: what is given without `limit`, and what may be asked for. */
export const PAGE_LIMITS = {
  /** A row takes 370 bytes: 370 kB a page, far below what clients take as one reply. */
  limitMax: 1_000,
  limitDefault: 100,
}

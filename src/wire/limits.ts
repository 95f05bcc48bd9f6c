/** What a stranger may cost us, each with its reason. The operator may change those that are settings. */
export const WIRE_LIMITS = {
  /** The largest legitimate request, 1,000 outpoints, takes 47 kB. */
  frameBytesMax: 65_536,
  /** Idle ones cost about 4 kB each; far below the usual limit of open files. */
  connectionsMax: 1_024,
  /** Nothing is asked for this long: the slot is worth more to somebody else. */
  idleMsMax: 300_000,
  /** From a frame's first byte to its last, Tor's slowest circuits included. */
  frameMsMax: 10_000,
  /** A watching wallet polls every 3 s. Beyond this we stop reading, we drop nothing. */
  requestsPerS: 20,
  /** A taker that asks about all outputs of a swap at once. */
  requestsBurst: 100,
  /** Bytes of replies a client may leave unread before its requests wait. One list of 10,000 makers has 0.7 MB. */
  unsentBytesMax: 1_048_576,
  /** Such a client is cut off when nothing has moved for this long. */
  unsentMsMax: 60_000,
} as const satisfies Record<string, number>

export type WireLimits = { readonly [K in keyof typeof WIRE_LIMITS]: number }

/** What those who ask over HTTP may cost us, each with its reason. All are people or programs of the operator. */
export const HTTP_LIMITS = {
  /** A few browsers with six connections each, a scraper, a script. */
  connectionsMax: 128,
  /** Event streams stay open for days: fewer than connections, so that a list can always be asked for. */
  streamsMax: 32,
  /** Headers of a browser with its cookies for localhost; we read only a few of them. */
  headerBytesMax: 16_384,
  /** From the first byte of a request to its last: they have no body worth waiting for. */
  requestMsMax: 10_000,
  /** How often the two deadlines above and below are looked after. */
  sweepMs: 2_000,
  /** An idle connection is worth little on loopback; longer than a scraper's usual 15 s interval pays no one. */
  keepAliveMs: 5_000,
  /** A socket on which nothing moves, streams included: they carry a heartbeat well within this. */
  idleMsMax: 60_000,
  /** Comments on a quiet stream, so that both ends notice when the other has gone. */
  heartbeatMs: 15_000,
  /** Events a stream may leave unread; beyond it the reader is gone or asleep and will come again. */
  unsentBytesMax: 262_144,
  /** How often the store is compared with what was told last. A person sees a block at once. */
  lookMs: 250,
  /** Events told of one look; after more than this (a long absence) lists are read again anyway. */
  eventsPerLook: 500,
  /** Blocks remembered to tell a reorg: deeper ones are told as this deep. */
  blocksRemembered: 100,
  /** Spends compared at each look: those in the mempool, and confirmed in the blocks remembered. */
  spendsRemembered: 5_000,
  /** Rows of a page, unless asked for; and at the most: 1,000 bonds take about 600 kB of JSON. */
  pageRows: 100,
  pageRowsMax: 1_000,
  /** Points of a history, unless asked for; and at the most: a plot is a few hundred pixels wide. */
  historyPoints: 200,
  historyPointsMax: 1_000,
  /** Longest of our path parameters is an onion address with its port, 68 characters. */
  pathParamChars: 128,
} as const satisfies Record<string, number>

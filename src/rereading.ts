/**
 * Bonds that an older version has stored lack what today's takers hold against their transactions: these are read again
 * from bitcoind, a few at a time, the youngest first. A loop of the daemon. What bitcoind has pruned stays unread.
 */
import type { Following } from './chain/following.ts'
import type { NodeApi } from './chain/node-reader.ts'
import type { Judged } from './chain/types.ts'
import { AccessRefused, describeError, TransientError } from './errors.ts'
import type { Indexer } from './indexer.ts'
import type { CurrentMarket } from './market.ts'
import { readUnreadBonds, type UnreadBond } from './store/local/bonds.ts'
import type { Db } from './store/open.ts'
import { sleep, type World } from './world.ts'

const LIMITS = {
  /** Transactions asked for at once, for each of which bitcoind reads a block, and looked at in one go: some 2 ms. */
  atOnce: 20,
  /** Between two such steps, so that scan, mempool and takers come first. */
  pauseMs: 100,
  /** Until the scan has reached the tip, and while bitcoind is away. */
  waitMs: 2_000,
  /** Steps that failed in a row before the next bonds get their turn: one that bitcoind chokes on is not to stop all. */
  triesMax: 5,
  /** When those whose turn was passed over get another. */
  soonMs: 60_000,
  /** When those whose blocks bitcoind does not have are asked for again: another node may have them. */
  againMs: 3_600_000,
}

export interface Rereading extends Pick<World, 'log'> {
  db: Db
  api: Pick<NodeApi, 'judge'>
  indexer: Pick<Indexer, 'reread'>
  market: CurrentMarket
  following: Pick<Following, 'hasReachedTip'>
}

/** Runs until the signal, or until nothing is unread. */
export async function runRereading(rereading: Rereading, signal: AbortSignal): Promise<void> {
  const { db, following, log } = rereading
  while (readUnreadBonds(db, 1).length > 0) {
    while (!following.hasReachedTip) await sleep(LIMITS.waitMs, signal)
    const { read, unread, passedOver } = await rereadAll(rereading, signal)
    log.info({ read, unread }, 'bonds stored by an older version were looked at again')
    if (unread === 0) return
    await sleep(passedOver > 0 ? LIMITS.soonMs : LIMITS.againMs, signal)
  }
}

interface Counts {
  read: number
  unread: number
  /** Those of the unread that bitcoind could not be asked about. */
  passedOver: number
}

/** Each once. */
async function rereadAll(rereading: Rereading, signal: AbortSignal): Promise<Counts> {
  const { db, indexer, market } = rereading
  const counts: Counts = { read: 0, unread: 0, passedOver: 0 }
  let after: UnreadBond | undefined
  for (;;) {
    const bonds = readUnreadBonds(db, LIMITS.atOnce, after)
    if (bonds.length === 0) return counts
    const facts = (await judged(rereading, bonds, signal))?.facts
    const readings = indexer.reread(facts?.flatMap(({ tx }) => (tx ? [tx] : [])) ?? [])
    market.reread(readings)
    counts.read += readings.size
    counts.unread += bonds.length - readings.size
    if (!facts) counts.passedOver += bonds.length
    after = bonds.at(-1)
    await sleep(LIMITS.pauseMs, signal)
  }
}

/** What bitcoind has of them; undefined when it can't be asked about these. */
async function judged(
  { api, log }: Rereading,
  bonds: readonly UnreadBond[],
  signal: AbortSignal,
): Promise<Judged | undefined> {
  for (let tries = 1; ; tries++) {
    try {
      return await api.judge(bonds.map(({ outpoint, conf }) => ({ outpoint, block: conf.hash })))
    } catch (error) {
      if (!(error instanceof TransientError || error instanceof AccessRefused)) throw error
      log.debug({ detail: describeError(error) }, 'bonds could not be read again')
      if (tries >= LIMITS.triesMax) return undefined
    }
    await sleep(LIMITS.waitMs, signal)
  }
}

/**
 * The loop that follows the best chain: look, decide (plan.ts), fetch ahead, commit blocks with the tip they make: several at
 * once while far behind (batch.ts). Followed by hash, never by height: a block whose prevHash is not our tip is not connected,
 * whatever its height. Knows no bonds: what a block means is the ChainIndex's affair.
 */
import { AccessRefused, BlockUnavailable, ConfigError, describeError, isAbort, TransientError } from '../errors.ts'
import { breathe, sleep, type World } from '../world.ts'
import { Batch, type NextBlock } from './batch.ts'
import type { BlockRead } from './blocks.ts'
import { Contact, noteView } from './contact.ts'
import { FOLLOWING_LIMITS, type Following } from './following.ts'
import { Meter } from './meter.ts'
import type { Node } from './node.ts'
import type { ChainView, NodeApi, NodeInfo } from './node-reader.ts'
import { nextStep, unseenHeights, WINDOW_BLOCKS } from './plan.ts'
import type { BlockHash, BlockRef, Height, HeightRange } from './types.ts'

export const SYNC_LIMITS = {
  /** Blocks fetched ahead: enough to keep two cores busy; eight are no faster, and take 12 MB more. */
  blocksInFlight: 4,
  /** A node in initial download is asked again after this. */
  downloadPollMs: 2_000,
  /** How long one wait for a new tip lasts at the most. */
  tipWaitMs: 5_000,
}

/** What the loop moves: the store and everybody who must know. Each call is one transaction. */
export interface ChainIndex {
  tip(): BlockRef | undefined
  /** The lowest height scanned. */
  scannedFrom(): Height | undefined
  /** The block there. */
  lowest(): BlockRef | undefined
  /**
   * Extends the tip by blocks that follow each other. `bestHeight`, the node's, tells whether they are young enough for the
   * spent-outpoint index.
   */
  connect(blocks: readonly NextBlock[], bestHeight: Height, api: NodeApi): Promise<void>
  /** Takes the tip back. */
  disconnect(): void
  /** Called after each contact that found the right node. */
  met(node: NodeInfo): void
  /** Whether blocks are to come with the txids of their transactions. */
  readonly wantsTxids: boolean
}

interface SyncDeps extends World {
  node: Node
  index: ChainIndex
  following: Following
}

/** Runs until the signal. Rejects with ConfigError when bitcoind is the wrong one or refuses us at first contact. */
export async function runSync(deps: SyncDeps, signal: AbortSignal): Promise<void> {
  const contact = new Contact(deps)
  const api = deps.node.with(signal)
  for (;;) {
    try {
      if (!contact.isOpen) {
        const info = await api.connect()
        deps.index.met(info)
        contact.opened(info)
      }
      await follow(deps, api, contact, signal)
    } catch (error) {
      if (isAbort(error, signal)) throw error
      const isWeather = error instanceof TransientError || (error instanceof AccessRefused && contact.hasMet)
      if (!isWeather) throw error
      await sleep(contact.lost(describeError(error)), signal)
    }
  }
}

async function follow(deps: SyncDeps, api: NodeApi, contact: Contact, signal: AbortSignal): Promise<void> {
  const { index, following } = deps
  /** One catch-up, from the first block behind to the node's tip, however many looks it takes. */
  let meter: Meter | undefined
  for (;;) {
    const tip = index.tip()
    const ahead = contact.isLacking ? 1 : undefined // one is waited for: no use in more
    const view = await api.view(tip?.height, ahead)
    const isNew = noteView(deps, view)
    contact.answered(view, isNew)
    noteTip(deps)
    if (view.isInitialDownload) {
      await sleep(SYNC_LIMITS.downloadPollMs, signal)
      continue
    }
    const step = nextStep(tip, view)
    let missing: MissingBlock | undefined
    switch (step.kind) {
      case 'start': {
        const from = following.servesPartial ? await firstReadable(api, step.from, view.best.height) : step.from
        if (!contact.isLacking) noteStart(deps, from, view)
        const hashes = await api.hashesFrom(from, ahead)
        meter = new Meter(deps, from)
        missing = await connectAll(deps, api, contact, meter, undefined, from, hashes, signal)
        break
      }
      case 'connect': {
        noteReorg(deps)
        meter ??= new Meter(deps, step.from)
        missing = await connectAll(deps, api, contact, meter, tip, step.from, step.hashes, signal)
        break
      }
      case 'disconnect':
        if (!following.takenBack) await assertSameChain(deps, api, view)
        index.disconnect()
        following.takenBack = {
          from: following.takenBack?.from ?? tip!,
          depth: (following.takenBack?.depth ?? 0) + 1,
        }
        contact.moved()
        break
      case 'gap':
        throw wrongNode(following, gapAdvice(step, index.scannedFrom() ?? 0, view.pruneHeight))
      case 'idle':
        // A chain that has become shorter is half a reorg: the other half comes with the blocks that replace it.
        if (following.scan) noteScanned(deps, view.best)
        else meter?.done(view.best.height)
        meter = undefined
        contact.idle()
        await api.waitForTip(view.best.hash, SYNC_LIMITS.tipWaitMs)
        contact.waited()
        break
    }
    if (missing) {
      meter = undefined
      await sleep(contact.lacks(missing.height, missing.hash, missing.reason), signal)
    }
  }
}

/** Says once where the scan begins, and what will be missing. */
function noteStart({ log, following, clock }: SyncDeps, from: Height, { best }: ChainView): void {
  if (following.progress?.from === from) return // begun before bitcoind was lost
  following.scan = { from, sinceMs: clock.monotonicMs() }
  log.info({ fromHeight: from, tipHeight: best.height }, 'scan begins')
  following.progress = { from, at: from, to: best.height, blocksPerS: 0, mbPerS: 0, etaS: undefined }
  const unseen = unseenHeights(from, best)
  if (!unseen) return
  log.warn(
    { unseenFrom: unseen.from, unseenTo: unseen.to },
    following.servesPartial
      ? 'bitcoind does not have all blocks of the window: bonds confirmed in them are not known, and lists are partial (--serve-partial)'
      : 'bitcoind does not have all blocks of the window: bonds confirmed in them are not known, and no list is given',
  )
}

/** Once, with all that kept it from its end. */
function noteScanned({ log, following, clock }: SyncDeps, { height }: BlockRef): void {
  const { from, sinceMs } = following.scan!
  following.scan = undefined
  log.info(
    { fromHeight: from, height, blocks: height - from + 1, tookMs: Math.round(clock.monotonicMs() - sinceMs) },
    'scan done',
  )
}

/** `tookMs`: all of them together, once they were there. */
function noteConnected({ log }: SyncDeps, blocks: readonly NextBlock[], tookMs: number): void {
  if (!log.isLevelEnabled('debug')) return
  const together = blocks.length > 1 ? { together: blocks.length } : {}
  for (const { block, height } of blocks) {
    const { hash: blockHash, transactions, bytes } = block
    log.debug({ height, blockHash, transactions, bytes, ...together, tookMs: Math.round(tookMs) }, 'block connected')
  }
}

/** A block that bitcoind can't give, and why. */
interface MissingBlock {
  height: Height
  hash: BlockHash
  reason: string
}

/**
 * Connects `hashes` (heights from `from`) as far as they link to our tip, fetching ahead. Returns the block at which it
 * had to end because bitcoind can't give it; those before it are connected.
 */
async function connectAll(
  deps: SyncDeps,
  api: NodeApi,
  contact: Contact,
  meter: Meter,
  tip: BlockRef | undefined,
  from: Height,
  hashes: readonly BlockHash[],
  signal: AbortSignal,
): Promise<MissingBlock | undefined> {
  const { index, following } = deps
  const best = following.best!.height
  const inFlight: Promise<BlockRead>[] = []
  let next = 0
  const fetchAhead = () => {
    const atOnce = contact.isLacking ? 1 : SYNC_LIMITS.blocksInFlight
    while (next < hashes.length && inFlight.length < atOnce) {
      const fetched = api.readBlock(hashes[next++]!, { withTxids: index.wantsTxids })
      fetched.catch(() => {}) // awaited in its turn below, or dropped with the rest
      inFlight.push(fetched)
    }
  }
  const missing = (reason: string) => {
    const height = (index.tip()?.height ?? from - 1) + 1
    return { height, hash: hashes[height - from]!, reason }
  }
  const batch = new Batch(deps.clock)
  const connect = async (blocks: readonly NextBlock[]) => {
    const startMs = deps.clock.monotonicMs()
    await index.connect(blocks, best, api)
    noteConnected(deps, blocks, deps.clock.monotonicMs() - startMs)
    for (const { block, height } of blocks) meter.count(block.bytes, height, best)
    noteTip(deps)
    contact.moved()
    await breathe() // the next block may be there already: takers first
  }
  const connectBatch = async () => {
    const blocks = batch.take()
    if (blocks.length === 0) return
    try {
      await connect(blocks)
    } catch (error) {
      if (!(error instanceof BlockUnavailable)) throw error
      for (const one of blocks) await connect([one]) // those before the one that is asked for again in vain
    }
  }
  let prevHash = tip?.hash
  try {
    for (let height = from; ; height++) {
      fetchAhead()
      const fetched = inFlight.shift()
      if (!fetched) break
      if (!(await batch.waitsFor(fetched))) await connectBatch()
      const { block, source, restFault } = await fetched
      if (restFault !== undefined)
        deps.log.warn({ detail: restFault }, 'a block was not had by REST, and asked for by RPC')
      signal.throwIfAborted()
      if (prevHash !== undefined && block.prevHash !== prevHash) {
        await connectBatch()
        return missing(`it does not build on block ${height - 1}`) // the chain moves under us: look again
      }
      if (source !== following.source) {
        deps.log.warn({ from: following.source, to: source }, 'blocks are read another way now')
        following.source = source
      }
      prevHash = block.hash
      if (batch.add({ block, height }, best)) await connectBatch()
    }
    await connectBatch()
    return undefined
  } catch (error) {
    if (isAbort(error, signal)) throw error
    await connectBatch()
    if (!(error instanceof BlockUnavailable)) throw error
    return missing(describeError(error))
  }
}

/**
 * The lowest height from `from` on from which bitcoind can give blocks, found by halving: below lies what it has not
 * downloaded yet (assumeutxo), above what it followed itself. `best` itself where it has none.
 */
async function firstReadable(api: NodeApi, from: Height, best: Height): Promise<Height> {
  const isReadable = async (height: Height) => {
    const [hash] = await api.hashesFrom(height, 0)
    if (hash === undefined) return true // the chain became shorter: look again from there
    try {
      await api.readBlock(hash, { withTxids: false })
      return true
    } catch (error) {
      if (error instanceof BlockUnavailable) return false
      throw error
    }
  }
  if (await isReadable(from)) return from
  let unreadable = from
  let readable = best
  while (readable - unreadable > 1) {
    const middle = Math.floor((unreadable + readable) / 2)
    if (await isReadable(middle)) readable = middle
    else unreadable = middle
  }
  return readable
}

/** Before anything is taken back: the lowest block of our index must be the node's. */
async function assertSameChain({ index, following }: SyncDeps, api: NodeApi, { best }: ChainView): Promise<void> {
  const lowest = index.lowest()
  if (!lowest) return
  const [theirs] = lowest.height <= best.height ? await api.hashesFrom(lowest.height, 0) : []
  if (theirs === lowest.hash) return
  const said = theirs === undefined ? `ends at block ${best.height}` : `has ${theirs} there`
  throw wrongNode(
    following,
    `bitcoind's chain shares no block with this index, which begins with block ${lowest.height} (${lowest.hash}); bitcoind ${said}: is --rpc the right node, and --datadir the one of its network? If both are right, fidelity-tracker rescan --from ${lowest.height} begins anew; it keeps the onion key, registrations and history`,
  )
}

/** The operator's to mend; of a node that was the right one since we started it is weather. */
function wrongNode({ hasReachedTip }: Following, text: string): Error {
  return new (hasReachedTip ? TransientError : ConfigError)(text)
}

function gapAdvice({ from, to }: HeightRange, scannedFrom: Height, pruneHeight: Height): string {
  return [
    `bitcoind has pruned blocks ${from} to ${to}, which this index has not read`,
    `name a node that has them with --rpc, or begin anew where bitcoind still has blocks: fidelity-tracker rescan --from ${scannedFrom}`,
    'which keeps the onion key, registrations and history',
    `bonds confirmed and outpoints spent before block ${pruneHeight} are then not known, and no list is given before block ${pruneHeight + WINDOW_BLOCKS} unless --serve-partial is set`,
  ].join('; ')
}

/** Our tip against the node's best block. */
function noteTip({ following, clock, index }: SyncDeps): void {
  const tip = index.tip()
  following.tip = tip
  following.scannedFrom = index.scannedFrom()
  following.answeredAtMs = clock.monotonicMs()
  if (tip !== undefined && tip.hash === following.best?.hash) {
    following.behindSinceMs = undefined
    following.progress = undefined
    following.hasReachedTip ||= following.node.kind !== 'initial-download'
  } else {
    following.behindSinceMs ??= clock.monotonicMs()
  }
}

/** What was taken back is about to be replaced. */
function noteReorg({ following, log, index }: SyncDeps): void {
  if (!following.takenBack) return
  const { from, depth } = following.takenBack
  following.takenBack = undefined
  following.reorgs++
  following.reorgDepthMax = Math.max(following.reorgDepthMax, depth)
  const forkHeight = index.tip()?.height ?? 0
  following.lastReorgs = [...following.lastReorgs, { depth, from, forkHeight }].slice(-FOLLOWING_LIMITS.reorgsKept)
  log.warn({ depth, forkHeight }, 'reorg: blocks taken back')
}

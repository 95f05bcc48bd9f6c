/**
 * The loop that follows the best chain: look, decide (plan.ts), fetch ahead, commit one block per transaction with its
 * tip. Followed by hash, never by height: a block whose prevHash is not our tip is not connected, whatever its height.
 * Knows no bonds: what a block means is the ChainIndex's affair.
 */
import { AccessRefused, ConfigError, describeError, isAbort, TransientError } from '../errors.ts'
import { Backoff, breathe, sleep, type World } from '../world.ts'
import type { ScannedBlock } from './decode.ts'
import { FOLLOWING_LIMITS, type Following, type NodeCondition } from './following.ts'
import type { Node } from './node.ts'
import type { ChainView, NodeApi, NodeInfo } from './node-reader.ts'
import { nextStep, windowStart } from './plan.ts'
import type { BlockHash, BlockRef, BlockSource, Height } from './types.ts'

export const SYNC_LIMITS = {
  /** Blocks fetched ahead: at most 8 × 4 MB in flight, and enough to keep two cores and the disk busy. */
  blocksInFlight: 8,
  /** bitcoind is on this machine or near: come back soon after it does. */
  backoff: { firstMs: 200, maxMs: 3_000 },
  /** A node in initial download is asked again after this. */
  downloadPollMs: 2_000,
  /** A line of progress in the log this often, while catching up. */
  progressLogMs: 10_000,
  /** How long one wait for a new tip lasts at the most. */
  tipWaitMs: 5_000,
}

/** What the loop moves: the store and everybody who must know. Each call is one transaction. */
export interface ChainIndex {
  tip(): BlockRef | undefined
  /** Extends the tip. `bestHeight`, the node's, tells whether the block is young enough for the spent-outpoint index. */
  connect(block: ScannedBlock, height: Height, bestHeight: Height, api: NodeApi): Promise<void>
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
  const { log, following, clock } = deps
  const backoff = new Backoff(SYNC_LIMITS.backoff, deps.random)
  let hasMet = false
  let lostAtMs: number | undefined
  for (;;) {
    try {
      const api = deps.node.with(signal)
      const info = await api.connect()
      deps.index.met(info)
      following.source = info.source
      log.info(
        {
          version: info.version,
          subversion: info.subversion,
          blocksBy: info.source,
          zmq: info.zmq,
          ...downFor(deps, lostAtMs),
        },
        'bitcoind connected',
      )
      hasMet = true
      lostAtMs = undefined
      await follow(deps, api, () => backoff.reset(), signal)
    } catch (error) {
      if (isAbort(error, signal)) throw error
      const isWeather = error instanceof TransientError || (error instanceof AccessRefused && hasMet)
      if (!isWeather) throw error
      const detail = describeError(error)
      if (lostAtMs === undefined || following.node.detail !== detail) log.warn({ detail }, 'bitcoind unreachable')
      lostAtMs ??= clock.monotonicMs()
      setCondition(deps, { kind: 'unreachable', detail })
      await sleep(backoff.nextMs(), signal)
    }
  }
}

function downFor({ clock }: SyncDeps, lostAtMs: number | undefined): { downMs?: number } {
  return lostAtMs === undefined ? {} : { downMs: Math.round(clock.monotonicMs() - lostAtMs) }
}

function setCondition({ following }: SyncDeps, condition: NodeCondition): void {
  following.node = condition
}

async function follow(deps: SyncDeps, api: NodeApi, onAnswer: () => void, signal: AbortSignal): Promise<void> {
  const { index, log, following } = deps
  let isWaiting = false
  /** One catch-up, from the first block behind to the node's tip, however many looks it takes. */
  let meter: Meter | undefined
  for (;;) {
    const tip = index.tip()
    const view = await api.view(tip?.height)
    onAnswer()
    noteView(deps, view)
    if (view.isInitialDownload) {
      const detail = `bitcoind is in initial download: block ${view.best.height} of ${view.headers}`
      if (!isWaiting)
        log.info({ height: view.best.height, headers: view.headers }, 'waiting: bitcoind is in initial download')
      isWaiting = true
      setCondition(deps, { kind: 'initial-download', detail })
      await sleep(SYNC_LIMITS.downloadPollMs, signal)
      continue
    }
    isWaiting = false
    setCondition(deps, { kind: 'following', detail: 'ok' })
    const step = nextStep(tip, view)
    switch (step.kind) {
      case 'start': {
        log.info({ fromHeight: step.from, tipHeight: view.best.height }, 'scan begins')
        const unseenTo = step.from - 1
        if (step.from > windowStart(view.best.height)) {
          log.warn(
            { unseenFrom: windowStart(view.best.height), unseenTo },
            'bitcoind has pruned blocks of the window: bonds confirmed in them are not known',
          )
        }
        const hashes = await api.hashesFrom(step.from)
        meter = new Meter(deps, step.from)
        await connectAll(deps, api, meter, undefined, step.from, hashes, signal)
        break
      }
      case 'connect': {
        noteReorg(deps)
        meter ??= new Meter(deps, step.from)
        await connectAll(deps, api, meter, tip, step.from, step.hashes, signal)
        break
      }
      case 'disconnect':
        index.disconnect()
        following.takenBack = {
          from: following.takenBack?.from ?? tip!,
          depth: (following.takenBack?.depth ?? 0) + 1,
        }
        if (!index.tip()) {
          throw new ConfigError(
            `bitcoind's chain shares no block with this index (looked back ${following.takenBack.depth} blocks): is --rpc the right node? Else start with an empty --datadir`,
          )
        }
        break
      case 'gap':
        throw new ConfigError(
          `bitcoind has pruned blocks ${step.from} to ${step.to}, which this index has not seen: give bitcoind a larger prune= (or a full node with --rpc), or start with an empty --datadir`,
        )
      case 'idle': {
        // A chain that has become shorter is half a reorg: the other half comes with the blocks that replace it.
        meter = undefined
        await api.waitForTip(view.best.hash, SYNC_LIMITS.tipWaitMs)
        break
      }
    }
  }
}

/** Connects `hashes` (heights from `from`) as far as they link to our tip, fetching ahead. */
async function connectAll(
  deps: SyncDeps,
  api: NodeApi,
  meter: Meter,
  tip: BlockRef | undefined,
  from: Height,
  hashes: readonly BlockHash[],
  signal: AbortSignal,
): Promise<void> {
  const { index, following } = deps
  const best = following.best!.height
  const inFlight: Promise<{ block: ScannedBlock; source: BlockSource }>[] = []
  let next = 0
  const fetchAhead = () => {
    while (next < hashes.length && inFlight.length < SYNC_LIMITS.blocksInFlight) {
      const fetched = api.readBlock(hashes[next++]!, { withTxids: index.wantsTxids })
      fetched.catch(() => {}) // awaited in its turn below, or dropped with the rest
      inFlight.push(fetched)
    }
  }
  let prevHash = tip?.hash
  for (let height = from; ; height++) {
    fetchAhead()
    const fetched = inFlight.shift()
    if (!fetched) return
    const { block, source } = await fetched
    signal.throwIfAborted()
    if (prevHash !== undefined && block.prevHash !== prevHash) return // the chain moved under us: look again
    if (source !== following.source) {
      deps.log.warn({ from: following.source, to: source }, 'blocks are read another way now')
      following.source = source
    }
    await index.connect(block, height, best, api)
    await breathe() // the next block may be there already: takers first
    prevHash = block.hash
    meter.count(block.bytes, height, best)
    noteTip(deps)
  }
}

function noteView({ following, clock, index }: SyncDeps, view: ChainView): void {
  following.best = view.best
  following.answeredAtMs = clock.monotonicMs()
  following.tip = index.tip()
  const isAtTip = following.tip?.hash === view.best.hash
  if (isAtTip) {
    following.behindSinceMs = undefined
    following.progress = undefined
    following.hasReachedTip ||= !view.isInitialDownload
  } else {
    following.behindSinceMs ??= following.answeredAtMs
  }
}

function noteTip({ following, clock, index }: SyncDeps): void {
  following.tip = index.tip()
  following.answeredAtMs = clock.monotonicMs()
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

/** Counts a catch-up: rate, time left, a line in the log every ten seconds. */
class Meter {
  readonly #deps: SyncDeps
  readonly #from: Height
  readonly #startMs: number
  #loggedMs: number
  #blocks = 0
  #bytes = 0

  constructor(deps: SyncDeps, from: Height) {
    this.#deps = deps
    this.#from = from
    this.#startMs = deps.clock.monotonicMs()
    this.#loggedMs = this.#startMs
  }

  count(bytes: number, height: Height, to: Height): void {
    this.#blocks++
    this.#bytes += bytes
    const nowMs = this.#deps.clock.monotonicMs()
    const seconds = (nowMs - this.#startMs) / 1000
    const blocksPerS = seconds > 0 ? this.#blocks / seconds : 0
    const progress = {
      from: this.#from,
      at: height,
      to,
      blocksPerS: Math.round(blocksPerS * 10) / 10,
      mbPerS: seconds > 0 ? Math.round(this.#bytes / seconds / 1e5) / 10 : 0,
      etaS: blocksPerS > 0 ? Math.ceil((to - height) / blocksPerS) : undefined,
    }
    this.#deps.following.progress = progress
    if (nowMs - this.#loggedMs < SYNC_LIMITS.progressLogMs) return
    this.#loggedMs = nowMs
    const span = to - this.#from + 1
    const percent = span > 0 ? Math.round((1000 * (height - this.#from + 1)) / span) / 10 : 100
    this.#deps.log.info({ height, percent, ...progress }, 'catching up')
  }
}

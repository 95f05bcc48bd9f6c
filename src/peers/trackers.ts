/**
 * Other trackers: those the operator names and those learnt from Pings, asked every few minutes over Tor for their block
 * and their digest. Compared only where both are at the same block; where the lists differ, theirs is walked to see in
 * which bonds. Nothing that another tracker says changes what we list.
 *
 * A Ping is only a hint: who sent it is dialled back, and kept when a tracker of our network answers there under the
 * address it was dialled at. A Pong's address is a claim, never a key.
 */
import type { MakerList } from '../bonds/list.ts'
import type { ConfirmedBond } from '../bonds/types.ts'
import { formatOutpoint, type Height, type Network, type Outpoint } from '../chain/types.ts'
import { Bell, TaskGroup } from '../concurrency.ts'
import { describeError, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { Db } from '../store/open.ts'
import { type Comparison, deleteTracker, readTrackers, type TrackerRecord, upsertTracker } from '../store/trackers.ts'
import { formatHostPort, type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import { dial, freshIsolation, Unreached } from '../tor/socks.ts'
import { ask, NoReply } from '../wire/client.ts'
import type { Reply } from '../wire/messages.ts'
import { type AskTracker, walkBonds } from '../wire/walk.ts'
import type { World } from '../world.ts'

const LIMITS = {
  /** Asked at the same time: a round over a hundred of them still ends within the interval. */
  atOnce: 4,
  /** Learnt ones that are kept. The market has a handful of trackers; what comes beyond is somebody's game. */
  learntMax: 100,
  /** Pings that wait to be dialled back; the rest is forgotten, and comes again with the next Ping. */
  hintsMax: 32,
  /**
   * Addresses that were dialled back lately, and are not again whoever names them: those that were not reached or said
   * nothing for one interval (an onion that was just published takes a while to be found), those that lied for an hour.
   */
  triedMax: 1_000,
  liarMs: 3_600_000,
  /** After `failures` in vain the pause doubles, up to this. */
  pauseMsMax: 21_600_000,
  /** A learnt one that was silent this long is forgotten. */
  forgetMs: 7 * 86_400_000,
  /** At another block than ours it is asked again after this, a few times: a block reaches everybody within a minute. */
  otherBlockMs: 20_000,
  otherBlockTries: 3,
  /** A page of a thousand bonds takes 370 kB. */
  replyBytesMax: 2_097_152,
  /** Of the bonds that only one list has: enough to see what is wrong, whatever a liar invents. */
  outpointsMax: 100,
  /** What it calls its version. */
  versionLength: 40,
  /** How often the loop looks who is due. */
  lookMs: 1_000,
}

export interface TrackersOptions {
  configured: readonly HostPort[]
  intervalMs: number
  timeoutMs: number
  /** Undefined: without Tor. */
  socks: HostPort | undefined
  network: Network
  allowTestAddresses: boolean
}

export interface TrackersDeps extends World {
  db: Db
  /** Our own address as others reach us; undefined while we have none to tell. */
  self: () => HostPort | undefined
  /** Our list at our tip; undefined while behind. */
  ownList: () => Pick<MakerList, 'tip' | 'digest' | 'live'> | undefined
}

export class Trackers {
  readonly #options: TrackersOptions
  readonly #deps: TrackersDeps
  readonly #records = new Map<string, TrackerRecord>()
  readonly #bell = new Bell()
  /** When each is due, on the monotonic clock. */
  readonly #dueMs = new Map<string, number>()
  readonly #tasks = new TaskGroup(() => this.#bell.ring())
  readonly #hints = new Set<string>()
  /** Until when an address is not dialled back, on the monotonic clock; the oldest entry first. */
  readonly #tried = new Map<string, number>()
  readonly #otherBlock = new Map<string, number>()
  #revision = 0

  constructor(options: TrackersOptions, deps: TrackersDeps) {
    this.#options = options
    this.#deps = deps
    const configured = new Set(options.configured.map(formatHostPort))
    for (const record of readTrackers(deps.db)) {
      // One that is configured no more is as good as a learnt one.
      const source = configured.has(record.address) ? 'configured' : 'learnt'
      this.#records.set(record.address, { ...record, source })
    }
    for (const address of configured) {
      if (!this.#records.has(address)) this.#keep({ address, source: 'configured', addedS: this.#nowS(), failures: 0 })
    }
  }

  /** By address. */
  list(): TrackerRecord[] {
    return [...this.#records.values()].sort((a, b) => (a.address < b.address ? -1 : 1))
  }

  /** Changes whenever a record has. */
  get revision(): number {
    return this.#revision
  }

  /** Somebody sent a Ping and says it is a tracker at `address`, `port`. Costs nothing now and little later. */
  hint(address: string, port: number): void {
    // The reference tracker tells its host without the port; in tests with it.
    const parsed = parseHostPort(address) ?? parseHostPort(`${address}:${port}`)
    if (!parsed || !this.#mayDial(parsed)) return
    const name = formatHostPort(parsed)
    const own = this.#deps.self()
    if (this.#records.has(name) || (own && formatHostPort(own) === name)) return
    if ((this.#tried.get(name) ?? 0) > this.#deps.clock.monotonicMs()) return
    if (this.#hints.size >= LIMITS.hintsMax) return
    this.#hints.add(name)
    this.#bell.ring()
  }

  #mayDial({ host }: HostPort): boolean {
    return isOnionHost(host) || (this.#options.allowTestAddresses && host === '127.0.0.1')
  }

  /** Runs until the signal; rejects when a result can't be stored. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#bell.ring()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        signal.throwIfAborted()
        this.#tasks.throwIfFailed()
        this.#startDue(signal)
        await this.#bell.wait(LIMITS.lookMs)
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      await this.#tasks.ended()
    }
  }

  #startDue(signal: AbortSignal): void {
    const nowMs = this.#deps.clock.monotonicMs()
    for (const address of this.#records.keys()) {
      if ((this.#dueMs.get(address) ?? 0) <= nowMs) this.#start(address, signal)
    }
    for (const address of this.#hints) {
      if (this.#tasks.size >= LIMITS.atOnce) break
      this.#hints.delete(address)
      this.#rest(address, this.#options.intervalMs)
      this.#start(address, signal)
    }
  }

  /** Not to be dialled back for `ms`. */
  #rest(address: string, ms: number): void {
    this.#tried.delete(address)
    this.#tried.set(address, this.#deps.clock.monotonicMs() + ms)
    const [oldest] = this.#tried
    if (this.#tried.size > LIMITS.triedMax && oldest) this.#tried.delete(oldest[0])
  }

  #start(address: string, signal: AbortSignal): void {
    if (this.#tasks.size >= LIMITS.atOnce || this.#tasks.has(address)) return
    this.#tasks.start(address, this.#visit(address, signal), signal)
  }

  /** Asks one tracker, and keeps what it said. */
  async #visit(address: string, signal: AbortSignal): Promise<void> {
    const { log } = this.#deps
    const known = this.#records.get(address)
    let answer: TrackerAnswer
    try {
      answer = await this.#talk(parseHostPort(address)!, signal)
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      if (known) this.#noteFailure(known, describeError(error))
      else {
        if (!(error instanceof Unreached || error instanceof NoReply)) this.#rest(address, LIMITS.liarMs)
        log.debug({ tracker: address, detail: describeError(error) }, 'a Ping came from nowhere')
      }
      return
    }
    const before = known ?? { address, source: 'learnt' as const, addedS: this.#nowS(), failures: 0 }
    if (!known) {
      // A Ping like ours comes from a tracker like ours; but where a circuit was lost before the Pong it looks like v1.
      if (answer.kind === 'v1') return
      if (!this.#makeRoom()) return this.#rest(address, LIMITS.liarMs)
    }
    const { failure: _, ...rest } = before
    const record: TrackerRecord = { ...rest, failures: 0, askedS: this.#nowS(), seenS: this.#nowS() }
    if (answer.kind === 'pong') {
      Object.assign(record, answer.said)
      if (answer.compared) record.compared = answer.compared
    }
    this.#keep(record)
    if (!known) log.info({ tracker: address, version: record.version }, 'tracker learnt')
    this.#schedule(record, answer.kind === 'pong' && !answer.compared)
    if (before.compared?.agrees !== record.compared?.agrees && record.compared) this.#tell(record, record.compared)
  }

  #tell(record: TrackerRecord, { agrees, height, onlyOurs, onlyTheirs }: Comparison): void {
    const fields = { tracker: record.address, height, onlyOurs: onlyOurs.length, onlyTheirs: onlyTheirs.length }
    if (agrees) this.#deps.log.info(fields, 'tracker agrees')
    else this.#deps.log.warn(fields, 'tracker disagrees: compare with the verify verb')
  }

  #noteFailure(record: TrackerRecord, failure: string): void {
    const nowS = this.#nowS()
    const silentS = nowS - (record.seenS ?? record.addedS)
    if (record.source === 'learnt' && silentS * 1000 > LIMITS.forgetMs) {
      this.#records.delete(record.address)
      this.#dueMs.delete(record.address)
      deleteTracker(this.#deps.db, record.address)
      this.#revision++
      return
    }
    const failed = { ...record, failures: record.failures + 1, failure: failure.slice(0, 200), askedS: nowS }
    this.#keep(failed)
    this.#schedule(failed, false)
  }

  /** A place for a learnt one: free, or that of the learnt one that has been asked in vain the longest. */
  #makeRoom(): boolean {
    const learnt = this.list().filter(({ source }) => source === 'learnt')
    if (learnt.length < LIMITS.learntMax) return true
    const failing = learnt.filter(({ failures }) => failures > 0).sort((a, b) => b.failures - a.failures)
    const [worst] = failing
    if (!worst) return false
    this.#records.delete(worst.address)
    this.#dueMs.delete(worst.address)
    deleteTracker(this.#deps.db, worst.address)
    return true
  }

  #schedule({ address, failures }: TrackerRecord, wasElsewhere: boolean): void {
    const { clock, random } = this.#deps
    const { intervalMs } = this.#options
    const tries = wasElsewhere ? (this.#otherBlock.get(address) ?? 0) + 1 : 0
    if (tries > 0 && tries <= LIMITS.otherBlockTries) this.#otherBlock.set(address, tries)
    else this.#otherBlock.delete(address)
    const soon = this.#otherBlock.has(address)
    const fullMs = soon
      ? Math.min(intervalMs, LIMITS.otherBlockMs)
      : Math.min(LIMITS.pauseMsMax, intervalMs * 2 ** Math.min(failures, 10))
    this.#dueMs.set(address, clock.monotonicMs() + fullMs * (0.8 + 0.4 * random()))
  }

  #keep(record: TrackerRecord): void {
    this.#records.set(record.address, record)
    upsertTracker(this.#deps.db, record)
    this.#revision++
  }

  /** Throws TransientError: silent, of another network, or lying about where it is. */
  async #talk(target: HostPort, signal: AbortSignal): Promise<TrackerAnswer> {
    const { timeoutMs, socks } = this.#options
    const isolation = freshIsolation() // both connections by one circuit
    const connect = () => dial(target, { socks, isolation, timeoutMs, signal })
    const limits = { timeoutMs, signal, replyBytesMax: LIMITS.replyBytesMax }
    const socket = await connect()
    try {
      const question: AskTracker = (request) => ask(socket, request, limits)
      const pong = await this.#ping(target, question)
      if (pong) return await this.#compare(pong, question)
    } finally {
      socket.destroy()
    }
    const again = await connect()
    try {
      const reply = await ask(again, { type: 'Get' }, limits)
      if (reply.type !== 'Address') throw new TransientError(`it answered Get with ${reply.type}`)
      return { kind: 'v1' }
    } finally {
      again.destroy()
    }
  }

  /** Undefined when it closes without a word, as a tracker of version 1 does on what it doesn't know. */
  async #ping(target: HostPort, question: AskTracker): Promise<Said | undefined> {
    const self = this.#deps.self()
    let pong: Reply
    try {
      pong = await question({ type: 'Ping', address: self?.host ?? '', port: self?.port ?? 0 })
    } catch (error) {
      if (error instanceof NoReply && error.how === 'closed') return undefined
      throw error
    }
    if (pong.type !== 'Pong') throw new TransientError(`it answered Ping with ${pong.type}`)
    const { address, version, height, blockHash, digest } = pong
    if (address !== formatHostPort(target)) throw new TransientError('it says that it is at another address')
    if (version === undefined || height === undefined || blockHash === undefined || digest === undefined) {
      throw new TransientError('it answers like a maker of old')
    }
    if (pong.network !== this.#options.network) throw new TransientError('it is of another network')
    return { version: printable(version, LIMITS.versionLength), height, blockHash, digest: Buffer.from(digest) }
  }

  async #compare(said: Said, question: AskTracker): Promise<TrackerAnswer> {
    const { height } = said
    const own = this.#deps.ownList()
    if (!own || own.tip.hash !== said.blockHash) return { kind: 'pong', said }
    const agrees = own.digest.equals(said.digest)
    if (agrees) return { kind: 'pong', said, compared: { agrees, height, onlyOurs: [], onlyTheirs: [] } }
    const page = await walkBonds(question)
    if (page.type === 'Error') throw new TransientError(`it answered Bonds with ${printable(page.code)}`)
    if (page.blockHash !== own.tip.hash || page.unseen) return { kind: 'pong', said } // partial, and it says so
    const ours = own.live.map(({ bond }) => listedBond(bond))
    return { kind: 'pong', said, compared: { agrees, height, ...differenceOf(ours, page.bonds) } }
  }

  #nowS(): number {
    return Math.floor(this.#deps.clock.nowMs() / 1000)
  }
}

type Said = Required<Pick<TrackerRecord, 'version' | 'height' | 'blockHash' | 'digest'>>

type TrackerAnswer =
  /** It speaks version 1 alone: alive, and nothing to compare. */
  | { kind: 'v1' }
  | {
      kind: 'pong'
      said: Said
      /** Absent when it is at another block. */
      compared?: Comparison
    }

/** What the digest is made of. */
export interface ListedBond {
  outpoint: Outpoint
  address: string
  amountSats: number
  confHeight: Height
  /** Absent in format A. */
  lockHeight?: Height | undefined
}

export function listedBond(bond: ConfirmedBond): ListedBond {
  const { outpoint, address, amountSats, lockHeight, conf } = bond
  return { outpoint, address, amountSats, lockHeight, confHeight: conf.height }
}

/** A bond that both list and tell differently stands on both sides. */
export function differenceOf(
  ours: readonly ListedBond[],
  theirs: readonly ListedBond[],
): Pick<Comparison, 'onlyOurs' | 'onlyTheirs'> {
  return { onlyOurs: missingFrom(theirs, ours), onlyTheirs: missingFrom(ours, theirs) }
}

function missingFrom(there: readonly ListedBond[], here: readonly ListedBond[]): Outpoint[] {
  const known = new Set(there.map(nameOf))
  return here
    .filter((bond) => !known.has(nameOf(bond)))
    .slice(0, LIMITS.outpointsMax)
    .map(({ outpoint }) => outpoint)
}

function nameOf({ outpoint, address, amountSats, lockHeight, confHeight }: ListedBond): string {
  return [formatOutpoint(outpoint), address, amountSats, lockHeight ?? '-', confHeight].join(' ')
}

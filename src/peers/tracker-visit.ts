/**
 * One visit to one other tracker: who it says it is, and whether its list is ours. Everything it says is bounded in bytes,
 * the visit as a whole in time, and nothing of its list is kept but where it differs.
 */
import type { MakerList } from '../bonds/list.ts'
import type { Network } from '../chain/types.ts'
import { TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { Comparison, TrackerRecord } from '../store/local/trackers.ts'
import { formatHostPort, type HostPort, type TorPort } from '../tor/address.ts'
import { dial, freshIsolation } from '../tor/socks.ts'
import { ask, NoReply } from '../wire/client.ts'
import type { Reply } from '../wire/messages.ts'
import { type AskTracker, type TakeRow, type WalkedList, walkRows } from '../wire/walk.ts'
import { after } from '../world.ts'
import { ListComparison } from './list-comparison.ts'

export const VISIT_LIMITS = {
  /** The whole visit, from the dial to the last page: 5,000 bonds over a slow circuit. */
  visitMs: 180_000,
  /** A Pong takes 300 bytes. */
  pongBytesMax: 4_096,
  /** The list of a tracker of version 1: 14,000 makers. */
  getBytesMax: 1_048_576,
  /** Rows asked for at once: a page is read in a few milliseconds, and nobody is served meanwhile. */
  pageRows: 200,
  /** Such a page takes 75 kB. */
  pageBytesMax: 131_072,
  /** 100,000 bonds; time ends it long before. */
  pagesMax: 500,
  /** An onion name and its port: `<56 characters>.onion:65535`. */
  addressCharsMax: 68,
  /** What it calls its version. */
  versionChars: 40,
}

/** It said what no tracker of ours says at that address: of another network, elsewhere, or nothing that makes sense. */
export class NoSuchTracker extends TransientError {}

export interface VisitOptions {
  timeoutMs: number
  /** Undefined: without Tor. */
  socks: TorPort | undefined
  network: Network
}

/** Our list at our tip. */
export type OwnList = Pick<MakerList, 'tip' | 'digest' | 'live'>

export interface VisitDeps {
  /** What a Ping tells of us; undefined while we can't be reached. Never our block or digest: those it is to know itself. */
  tellsAddress: () => HostPort | undefined
  /** Undefined while behind. */
  ownList: () => OwnList | undefined
}

export type Said = Required<Pick<TrackerRecord, 'version' | 'height' | 'blockHash' | 'digest'>>

export type TrackerAnswer =
  /** It speaks version 1 alone: alive, and nothing to compare. */
  | { kind: 'v1' }
  | {
      kind: 'pong'
      said: Said
      /** Absent when it is at another block. */
      compared?: Comparison
    }

export interface Visit {
  target: HostPort
  /** The digest of its list when it was last read and found to be ours: the list is read again when that has changed. */
  read: Uint8Array | undefined
  /** One of version 1 closes on a Ping, and is known by what it answers on a second connection. */
  mayDialTwice: boolean
}

/** Throws NoSuchTracker, or TransientError when it is silent, too slow, or lets no list be read. */
export function visitTracker(
  { target, read, mayDialTwice }: Visit,
  options: VisitOptions,
  deps: VisitDeps,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  return withinTime(signal, async (inTime) => {
    const isolation = freshIsolation() // both connections by one circuit
    const answer = await connected(target, options, isolation, inTime, async (question) => {
      const said = await ping(target, options, deps, question)
      return said && compare(said, read, deps.ownList(), question)
    })
    if (answer) return answer
    if (!mayDialTwice) throw new NoReply('closed', 'it closed on a Ping')
    return await connected(target, options, isolation, inTime, async (question) => {
      const reply = await question({ type: 'Get' }, VISIT_LIMITS.getBytesMax)
      if (reply.type !== 'Address') throw new NoSuchTracker(`it answered Get with ${reply.type}`)
      return { kind: 'v1' }
    })
  })
}

async function withinTime<T>(signal: AbortSignal, visit: (inTime: AbortSignal) => Promise<T>): Promise<T> {
  const { visitMs } = VISIT_LIMITS
  const late = new AbortController()
  const cancel = after(visitMs, () => late.abort(new TransientError(`it has not told all within ${visitMs / 1000} s`)))
  try {
    return await visit(AbortSignal.any([signal, late.signal]))
  } finally {
    cancel()
  }
}

async function connected<T>(
  target: HostPort,
  { socks, timeoutMs }: VisitOptions,
  isolation: string,
  signal: AbortSignal,
  converse: (question: AskTracker) => Promise<T>,
): Promise<T> {
  const socket = await dial(target, { socks, isolation, timeoutMs, signal })
  try {
    return await converse((request, bytesMax = VISIT_LIMITS.pongBytesMax) =>
      ask(socket, request, { timeoutMs, signal, replyBytesMax: bytesMax }),
    )
  } finally {
    socket.destroy()
  }
}

/** Undefined when it closes without a word, as a tracker of version 1 does on what it doesn't know. */
async function ping(
  target: HostPort,
  { network }: VisitOptions,
  { tellsAddress }: VisitDeps,
  question: AskTracker,
): Promise<Said | undefined> {
  const self = tellsAddress()
  let pong: Reply
  try {
    pong = await question({ type: 'Ping', address: self?.host ?? '', port: self?.port ?? 0 })
  } catch (error) {
    if (error instanceof NoReply && error.how === 'closed') return undefined
    if (error instanceof NoReply) throw error
    throw error instanceof TransientError ? new NoSuchTracker(error.message, { cause: error }) : error
  }
  if (pong.type !== 'Pong') throw new NoSuchTracker(`it answered Ping with ${pong.type}`)
  const { address, version, height, blockHash, digest } = pong
  if (address !== formatHostPort(target)) throw new NoSuchTracker('it says that it is at another address')
  if (version === undefined || height === undefined || blockHash === undefined || digest === undefined) {
    throw new NoSuchTracker('it answers like a maker of old')
  }
  if (pong.network !== network) throw new NoSuchTracker('it is of another network')
  return { version: printable(version, VISIT_LIMITS.versionChars), height, blockHash, digest: Buffer.from(digest) }
}

/** What it says of its digest it may have from ourselves: it agrees when its list was read, and is ours. */
async function compare(
  said: Said,
  read: Uint8Array | undefined,
  own: OwnList | undefined,
  question: AskTracker,
): Promise<TrackerAnswer> {
  const { height, digest } = said
  if (!own || own.tip.hash !== said.blockHash) return { kind: 'pong', said }
  const isSame = own.digest.equals(digest)
  if (isSame && read && own.digest.equals(read)) {
    return { kind: 'pong', said, compared: { agrees: true, height, onlyOurs: [], onlyTheirs: [] } }
  }
  let comparison = new ListComparison(own.live)
  let isWhole = true
  const begin = (): TakeRow => {
    comparison = new ListComparison(own.live)
    isWhole = true
    return (row) => {
      if (row.address.length > VISIT_LIMITS.addressCharsMax) {
        throw new NoSuchTracker(`an address of ${row.address.length} characters stands in its list`)
      }
      isWhole = comparison.take(row)
      return isWhole
    }
  }
  const { pageRows: limit, pageBytesMax, pagesMax } = VISIT_LIMITS
  const list = await walkRows(question, begin, { limit, pageBytesMax, pagesMax })
  if (list.type === 'Error') throw new TransientError(`it answered Bonds with ${printable(list.code, 40)}`)
  if (isElsewhere(list, own)) return { kind: 'pong', said }
  if (isWhole) comparison.end()
  const { onlyOurs, onlyTheirs } = comparison
  const agrees = isSame && comparison.agrees && own.digest.equals(list.digest)
  return { kind: 'pong', said, compared: { agrees, height, onlyOurs, onlyTheirs } }
}

/** At another block by now, or partial, and it says so. */
function isElsewhere({ blockHash, unseen }: WalkedList, { tip }: OwnList): boolean {
  return blockHash !== tip.hash || unseen !== undefined
}

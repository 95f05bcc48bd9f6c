/**
 * The verify verb: asks a tracker for its live bonds and re-checks every row against our own bitcoind. What it invents
 * is judged by bitcoind alone; what it omits needs a list of our own, which is the database of these settings when it is
 * at the same block. Lists are compared only at the same block: another block is no difference.
 */
import { existsSync } from 'node:fs'
import { checkRow, type Difference } from '../bonds/check-row.ts'
import { digestOf } from '../bonds/digest.ts'
import { listMakers, type MakerList } from '../bonds/list.ts'
import { openNode } from '../chain/node.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { unseenHeights, windowStart } from '../chain/plan.ts'
import { type BlockHash, type BlockRef, formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import { type Config, nodeOptions } from '../config.ts'
import { databasePath } from '../data-places.ts'
import { ConfigError, describeError, StoreError, TransientError, UnreachableError } from '../errors.ts'
import { printable } from '../format.ts'
import { readBonds } from '../store/local/bonds.ts'
import { readScannedFrom, readTip } from '../store/local/tip.ts'
import { openStoreReadonly } from '../store/open.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import type { Reply } from '../wire/messages.ts'
import { type AskTracker, walkBonds } from '../wire/walk.ts'
import { sleep } from '../world.ts'
import { assertNetworkOf, withTracker } from './query.ts'

const LIMITS = {
  /** A block reaches bitcoind, our daemon and the tracker within seconds of each other. */
  tries: 20,
  everyMs: 1_000,
  /** v1 tells no block: a difference counts when it is still there after this many looks. */
  triesV1: 3,
  /** Our daemon writes a block a moment after bitcoind has it. */
  triesOwn: 5,
  /** The length of an address is one byte of the digest. */
  addressBytesMax: 255,
}

interface Invention {
  outpoint?: Outpoint
  address: string
  /** The fields that differ from what our node says; none where only the address is known (v1). */
  differences: Difference[]
}

interface Omission {
  outpoint: Outpoint
  address: string
  value: number
}

/** What `verify` has found out about a tracker. */
export interface Verification {
  tracker: string
  protocol: 1 | 2
  /** Where both were; v1 doesn't say. */
  block?: BlockRef
  rows: number
  invents: Invention[]
  omits: Omission[]
  /** Why `omits` may lack something. */
  omitsUnjudged?: string
  /** Rows that hold as far as they can be judged: our node has pruned the block that has their announcement. */
  unchecked: Outpoint[]
  /** What the list says of itself and is not so. */
  list: Difference[]
  agrees: boolean
}

type Page = Extract<Reply, { type: 'Bonds' }>

/** Throws UnreachableError when tracker or bitcoind can't be asked, or are not at one block in time. */
export async function verifyTracker(config: Config, address: HostPort, signal: AbortSignal): Promise<Verification> {
  await using node = await openNode(nodeOptions(config))
  const api = node.with(signal)
  try {
    await api.connect()
    return await compare(config, address, api, signal)
  } catch (error) {
    if (error instanceof TransientError) throw new UnreachableError(error.message, { cause: error })
    throw error
  }
}

async function compare(config: Config, address: HostPort, api: NodeApi, signal: AbortSignal): Promise<Verification> {
  const tracker = formatHostPort(address)
  let why = ''
  for (let tries = 1; tries <= LIMITS.tries; tries++) {
    if (tries > 1) await sleep(LIMITS.everyMs, signal)
    const listed = await fetchList(config, address, signal)
    const { best } = await api.view(undefined)
    if (listed.type === 'Error') {
      why = `the tracker answered ${printable(listed.code)}: ${printable(listed.message)}`
      continue
    }
    if (listed.type === 'Address') {
      const findings = judgeAddresses(tracker, listed.addresses, readOwnList(config, best.hash))
      if (findings && (findings.agrees || tries >= LIMITS.triesV1)) return findings
      why = 'the database is not at the block of bitcoind: is the daemon running?'
      continue
    }
    why = `the tracker is at block ${listed.height} (${listed.blockHash}), our bitcoind at ${best.height} (${best.hash}): not compared`
    if (listed.blockHash !== best.hash) continue
    const own = readOwnList(config, best.hash)
    if (own.kind === 'elsewhere' && tries < LIMITS.triesOwn) continue
    const findings = await judgeRows(config, tracker, listed, own, api)
    if (findings) return findings
  }
  throw new UnreachableError(why)
}

/** The live bonds, or from a tracker that knows no `Bonds` the addresses of its makers. */
async function fetchList(
  config: Config,
  address: HostPort,
  signal: AbortSignal,
): Promise<Page | Extract<Reply, { type: 'Address' | 'Error' }>> {
  let hasAnswered = false
  try {
    const reply = await withTracker(config, address, signal, async (ask) => {
      const noted: AskTracker = async (request, bytesMax) => {
        const answer = await ask(request, bytesMax)
        hasAnswered = true
        return answer
      }
      await assertNetworkOf(noted, address, config)
      return walkBonds(noted)
    })
    if (reply.type === 'Bonds' || !['unknown_request', 'bad_frame'].includes(reply.code)) return reply
  } catch (error) {
    // The reference tracker says nothing to what it does not know.
    if (!(error instanceof UnreachableError) || hasAnswered) throw error
  }
  const reply = await withTracker(config, address, signal, (ask) => ask({ type: 'Get' }))
  if (reply.type === 'Address' || reply.type === 'Error') return reply
  throw new UnreachableError(`the tracker answered Get with ${reply.type}`)
}

// ---- our own list ----------------------------------------------------------------------------------------------------

type OwnList =
  | { kind: 'list'; list: MakerList; gap?: string }
  /** There is a database, at another block. */
  | { kind: 'elsewhere'; why: string }
  | { kind: 'none'; why: string }

function readOwnList({ dataDir }: Config, at: BlockHash): OwnList {
  if (!existsSync(databasePath(dataDir))) return { kind: 'none', why: `there is no database in --datadir ${dataDir}` }
  try {
    using db = openStoreReadonly(dataDir)
    const tip = readTip(db)
    if (tip?.hash !== at) {
      return { kind: 'elsewhere', why: `the database in --datadir ${dataDir} is at block ${tip?.height ?? 'none'}` }
    }
    const list = listMakers(readBonds(db, windowStart(tip.height)), tip)
    const unseen = unseenHeights(readScannedFrom(db), tip)
    if (readTip(db)?.hash !== at) return { kind: 'elsewhere', why: 'the database has moved on' }
    if (!unseen) return { kind: 'list', list }
    return { kind: 'list', list, gap: `our own tracker has never read blocks ${unseen.from} to ${unseen.to}` }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    return { kind: 'none', why: describeError(error) }
  }
}

// ---- judging ---------------------------------------------------------------------------------------------------------

/** v2, row by row. Undefined when bitcoind has moved on meanwhile. */
async function judgeRows(
  { network, allowTestAddresses }: Config,
  tracker: string,
  page: Page,
  own: OwnList,
  api: NodeApi,
): Promise<Verification | undefined> {
  const judged = await api
    .judge(page.bonds.map(({ outpoint, blockHash }) => ({ outpoint, block: blockHash })))
    .catch((error: unknown) => {
      if (error instanceof TransientError) return undefined
      throw error
    })
  if (judged?.at.hash !== page.blockHash) return undefined
  const { at, facts } = judged
  const invents: Invention[] = []
  const unchecked: Outpoint[] = []
  for (const [i, row] of page.bonds.entries()) {
    const differences = checkRow(row, facts[i]!, at, { network, allowTestAddresses })
    if (differences.length === 0 && row.state !== 'live') {
      differences.push({ field: 'state', says: row.state, is: 'no row of a list of live bonds' })
    }
    if (differences.length > 0) invents.push({ outpoint: row.outpoint, address: row.address, differences })
    else if (facts[i]!.isPruned) unchecked.push(row.outpoint)
  }
  const list = differencesOfList(page, at)
  const omits = own.kind === 'list' ? omittedFrom(page, own.list) : []
  const omitsUnjudged = own.kind === 'list' ? (own.gap ?? confessed(page)) : own.why
  return {
    tracker,
    protocol: 2,
    block: { height: at.height, hash: at.hash },
    rows: page.bonds.length,
    invents,
    omits,
    ...(omitsUnjudged !== undefined && { omitsUnjudged }),
    unchecked,
    list,
    agrees: invents.length === 0 && omits.length === 0 && list.length === 0,
  }
}

function differencesOfList(page: Page, at: BlockRef): Difference[] {
  const differences: Difference[] = []
  if (page.height !== at.height) differences.push({ field: 'height', says: page.height, is: at.height })
  if (page.total !== page.bonds.length) {
    differences.push({ field: 'total', says: page.total, is: page.bonds.length })
  }
  const digest = page.bonds.some(({ address }) => Buffer.byteLength(address) > LIMITS.addressBytesMax)
    ? 'none: an address is too long'
    : digestOf(page.bonds.map((row) => ({ ...row, conf: { height: row.confHeight } }))).toString('hex')
  const says = Buffer.from(page.digest).toString('hex')
  if (says !== digest) differences.push({ field: 'digest', says, is: digest })
  return differences
}

/** Bonds confirmed in blocks that it says it has never read are not omitted. */
function omittedFrom({ bonds, unseen }: Page, own: MakerList): Omission[] {
  const named = new Set(bonds.map(({ outpoint }) => formatOutpoint(outpoint)))
  const isExcused = (height: Height) => unseen !== undefined && height >= unseen.from && height <= unseen.to
  return own.live
    .filter(({ bond }) => !named.has(formatOutpoint(bond.outpoint)) && !isExcused(bond.conf.height))
    .map(({ bond, value }) => ({ outpoint: bond.outpoint, address: bond.address, value }))
}

function confessed({ unseen }: Page): string | undefined {
  return unseen && `it says that it has never read blocks ${unseen.from} to ${unseen.to}`
}

/** v1: addresses only, so only against a list of our own. A maker it leaves out may just not have answered it. */
function judgeAddresses(tracker: string, addresses: readonly string[], own: OwnList): Verification | undefined {
  const lacks = own.kind === 'none' ? own.why : own.kind === 'list' ? own.gap : undefined
  if (lacks !== undefined) {
    throw new ConfigError(
      `this tracker speaks v1 only, which names no bonds: judging it needs a whole list of our own, but ${lacks}`,
    )
  }
  if (own.kind !== 'list') return undefined
  const ours = new Set(own.list.addresses)
  const invents = addresses.filter((address) => !ours.has(address)).map((address) => ({ address, differences: [] }))
  const theirs = new Set(addresses)
  const isForeign = addresses.length > 0 && invents.length === addresses.length
  const foreign = isForeign
    ? '; as none of its makers is ours, it may be of another network, which v1 does not tell'
    : ''
  return {
    tracker,
    protocol: 1,
    rows: addresses.length,
    invents,
    omits: own.list.live
      .filter(({ bond }) => !theirs.has(bond.address))
      .map(({ bond, value }) => ({ outpoint: bond.outpoint, address: bond.address, value })),
    omitsUnjudged: `a v1 list leaves out makers that do not answer: what it omits is no difference${foreign}`,
    unchecked: [],
    list: [],
    agrees: invents.length === 0,
  }
}

// ---- telling ---------------------------------------------------------------------------------------------------------

export function describeVerification(findings: Verification): string {
  const { tracker, protocol, block, rows, invents, omits, omitsUnjudged, unchecked, list, agrees } = findings
  const at = block ? ` at block ${block.height} (${block.hash})` : ''
  const lines = [`${tracker}, protocol v${protocol}${at}: ${rows} ${protocol === 2 ? 'live bonds' : 'makers'}`]
  const show = ({ field, says, is }: Difference) => `${field}: says ${printable(String(says))}, is ${is}`
  for (const { outpoint, address, differences } of invents) {
    lines.push(`INVENTS  ${outpoint ? `${formatOutpoint(outpoint)}  ` : ''}${printable(address)}`)
    for (const difference of differences) lines.push(`         ${show(difference)}`)
  }
  for (const { outpoint, address, value } of omits) {
    lines.push(`OMITS    ${formatOutpoint(outpoint)}  ${address}  value ${value}`)
  }
  for (const difference of list) lines.push(`DIFFERS  ${show(difference)}`)
  for (const outpoint of unchecked)
    lines.push(`UNSURE   ${formatOutpoint(outpoint)}: its announcement is in a block that bitcoind has pruned`)
  if (omitsUnjudged !== undefined) {
    lines.push(protocol === 2 ? `What it omits can't be judged in full: ${omitsUnjudged}.` : `${omitsUnjudged}.`)
  }
  lines.push(agrees ? 'agrees' : `differs: ${invents.length} invented, ${omits.length} omitted`)
  return lines.join('\n')
}

export function jsonOfVerification(findings: Verification): Record<string, unknown> {
  const { tracker, protocol, block, rows, invents, omits, omitsUnjudged, unchecked, list, agrees } = findings
  const outpointText = (outpoint: Outpoint | undefined) => (outpoint ? formatOutpoint(outpoint) : null)
  return {
    tracker,
    protocol,
    height: block?.height ?? null,
    block_hash: block?.hash ?? null,
    agrees,
    rows,
    invents: invents.map(({ outpoint, ...rest }) => ({ outpoint: outpointText(outpoint), ...rest })),
    omits: omits.map(({ outpoint, ...rest }) => ({ outpoint: outpointText(outpoint), ...rest })),
    omits_unjudged: omitsUnjudged ?? null,
    unchecked: unchecked.map(formatOutpoint),
    list,
  }
}

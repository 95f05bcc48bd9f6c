/** The query verb: asks any tracker, through Tor or on this machine. */
import type { Socket } from 'node:net'
import { type SpvVerdict, verifyBondProof } from '../bonds/spv.ts'
import { formatOutpoint, NETWORKS, NO_BLOCK, type Outpoint, parseOutpoint } from '../chain/types.ts'
import { type Config, socksOf } from '../config.ts'
import { ConfigError, TransientError, UnreachableError } from '../errors.ts'
import { printable, utc } from '../format.ts'
import { formatHostPort, type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import { dial, routeTo } from '../tor/socks.ts'
import { spendRow } from '../views/spends.ts'
import { ask, NoReply } from '../wire/client.ts'
import type { Reply, ReplyOf, Request } from '../wire/messages.ts'
import { bondRowOf, hex, statusRowOf, trackerRowOf, whyRowOf } from '../wire/rows.ts'
import { type AskTracker, walkBonds } from '../wire/walk.ts'
import { systemClock } from '../world.ts'
import { describeBonds, describeSpend, describeTrackers, describeUnseen, describeWhy, sortBonds } from './text.ts'

const LIMITS = {
  /** A fresh circuit to an onion service takes seconds; one that dies under us is known by then. */
  dialMs: 30_000,
  replyMs: 60_000,
  /** Tor loses a circuit now and then: each try has one of its own. */
  tries: 3,
  /** Everything that one try asks, together: a hundred pages over a slow circuit, and no tracker that drags them out. */
  tryMs: 600_000,
}

/** What it says of a tracker that it closes on a request without a word. */
const CLOSED_ON: { readonly [T in Request['type']]?: string } = {
  Get: ' (as a tracker that is not synced does: ask its status)',
  Status: ' (as one of version 1 does, which knows little more than get and watch)',
}

/** What is asked: one request, or `Bonds` page by page. */
export type Question = Exclude<Request, { type: 'Bonds' }> | { type: 'Bonds'; all: boolean }

/** `about`: the outpoint for watch and bond-proof, the maker for why. */
export function questionOf(word: string, about: string | undefined, { all = false } = {}): Question {
  if (about !== undefined && !['watch', 'bond-proof', 'why'].includes(word)) {
    throw new ConfigError(`${word} takes nothing after it`)
  }
  if (all && word !== 'bonds') throw new ConfigError('--all is for bonds')
  switch (word) {
    case 'get':
      return { type: 'Get' }
    case 'status':
      return { type: 'Status' }
    case 'ping':
      return { type: 'Ping', address: '', port: 0 }
    case 'trackers':
      return { type: 'Trackers' }
    case 'bonds':
      return { type: 'Bonds', all }
    case 'bond-proof':
      return { type: 'BondProof', outpoint: outpointOf(word, about) }
    case 'watch':
      return { type: 'Watch', outpoint: outpointOf(word, about) }
    case 'why':
      if (about === undefined) throw new ConfigError("why wants a maker's address: <56 characters>.onion:<port>")
      return { type: 'Why', address: about }
    default:
      throw new ConfigError(
        `${word} is no request: use get, status, ping, trackers, bonds, bond-proof <txid:vout>, watch <txid:vout>, or why <address>`,
      )
  }
}

function outpointOf(word: string, text = ''): Outpoint {
  const parsed = parseOutpoint(text)
  if (!parsed) throw new ConfigError(`${word} wants an outpoint: <txid as bitcoin-cli prints it>:<vout>`)
  return parsed
}

/** The tracker somebody named. Throws ConfigError. */
export function trackerAddress(target: string): HostPort {
  const address = parseHostPort(target)
  if (!address)
    throw new ConfigError(`${target} is no address: expected host:port, for example <56 characters>.onion:8080`)
  if (address.host.endsWith('.onion') && !isOnionHost(address.host)) {
    throw new ConfigError(`${address.host} is no v3 onion address: a character is wrong or missing`)
  }
  return address
}

export function query(config: Config, target: string, question: Question, signal: AbortSignal): Promise<Reply> {
  const address = trackerAddress(target)
  return withTracker(config, address, signal, async (askTracker) => {
    if (question.type === 'Bonds') return walkBonds(askTracker, { all: question.all })
    if (question.type === 'BondProof') await assertNetworkOf(askTracker, address, config)
    return askTracker(question)
  })
}

/**
 * To be asked before a tracker is judged: by the rules of another network than its own every tracker lies. Throws
 * ConfigError when it is of another one; one that doesn't say is taken to be of ours.
 */
export async function assertNetworkOf(ask: AskTracker, address: HostPort, { network }: Config): Promise<void> {
  const reply = await ask({ type: 'Status' })
  if (reply.type !== 'Status' || reply.network === network) return
  const other = NETWORKS.find((name) => name === reply.network)
  throw new ConfigError(
    `${formatHostPort(address)} is a tracker of ${printable(reply.network, 40)}, this is asked for ${network}: ${other ? `give --network ${other}` : 'ask another one'}`,
  )
}

/** Runs `work` on a connection of its own, and again on another one when Tor lost it. Throws UnreachableError. */
export async function withTracker<T>(
  config: Config,
  address: HostPort,
  signal: AbortSignal,
  work: (ask: AskTracker) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    let asked: Request['type'] | undefined
    try {
      const socket = await dialTracker(config, address, signal)
      const endMs = systemClock.monotonicMs() + LIMITS.tryMs
      try {
        return await work((request, replyBytesMax) => {
          asked = request.type
          const leftMs = endMs - systemClock.monotonicMs()
          if (leftMs <= 0) throw new TransientError(`it has not told all within ${LIMITS.tryMs / 1000} s`)
          const timeoutMs = Math.min(LIMITS.replyMs, leftMs)
          return ask(socket, request, { timeoutMs, signal, ...(replyBytesMax !== undefined && { replyBytesMax }) })
        })
      } finally {
        socket.destroy()
      }
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      if (tries < LIMITS.tries && routeTo(address.host, socksOf(config)) !== 'direct') continue
      const isClosed = error instanceof NoReply && error.how === 'closed'
      const hint = (isClosed && asked && CLOSED_ON[asked]) || ''
      throw new UnreachableError(error.message + hint, { cause: error })
    }
  }
}

/** A connection of its own, over a circuit of its own. Throws TransientError. */
export function dialTracker(config: Config, address: HostPort, signal: AbortSignal): Promise<Socket> {
  return dial(address, { socks: socksOf(config), timeoutMs: LIMITS.dialMs, signal })
}

/** What a tracker answered, as text for people. */
export function describeReply(reply: Reply): string {
  switch (reply.type) {
    case 'Address':
      return reply.addresses.length > 0 ? reply.addresses.map((address) => printable(address)).join('\n') : 'no makers'
    case 'WatchResponse':
      if (reply.transactions.length === 0) return 'no spend known'
      return reply.transactions.map(({ txid, seenAtMs }) => `${txid}  first seen ${utc(seenAtMs)}`).join('\n')
    case 'Spends':
      return reply.spends.map((spend) => describeSpend(spendRow(spend))).join('\n')
    case 'Spend':
      return describeSpend(spendRow(reply))
    case 'Registered':
      return `${reply.count} registered until block ${reply.untilHeight}${describeUnfunded(reply)}`
    case 'Bonds': {
      const rows = sortBonds(reply.bonds.map((bond) => bondRowOf(bond, reply.height)))
      return `${describeBonds(rows, reply.height)} (${reply.blockHash}), digest ${hex(reply.digest)}${describeUnseen(reply.unseen)}`
    }
    case 'BondProof':
      return [
        `height   ${reply.height}`,
        `header   ${hex(reply.header)}`,
        `merkle   ${hex(reply.merkle)}`,
        `tx       ${hex(reply.tx)}`,
      ].join('\n')
    case 'Trackers':
      if (reply.trackers.length === 0) return 'it knows no other tracker'
      return describeTrackers(reply.trackers.map(trackerRowOf))
    case 'Posted':
      return `${reply.address} is proven to own ${formatOutpoint(reply.outpoint)}`
    case 'Why':
      return describeWhy(whyRowOf(reply))
    case 'Error':
      return `the tracker answered ${printable(reply.code)}: ${printable(reply.message)}`
    case 'Pong':
    case 'Status': {
      const fields = Object.entries(jsonOf(reply)).filter(([name]) => name !== 'type')
      return fields
        .map(([name, value]) => `${name.padEnd(14)}${typeof value === 'object' ? JSON.stringify(value) : value}`)
        .join('\n')
    }
  }
}

function describeUnfunded({ unfunded = 0, unfundedUntil }: ReplyOf<'Registered'>): string {
  if (unfunded === 0) return ''
  return `; ${unfunded} of them no transaction has made yet: kept until block ${unfundedUntil} unless one does`
}

/** The same as JSON: `type` names the reply, and what it holds are the rows that HTTP and the other verbs show. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const { type } = reply
  switch (reply.type) {
    case 'Address':
      return { type, addresses: reply.addresses }
    case 'WatchResponse': {
      const seconds = (ms: number) => (Number.isNaN(ms) ? null : Math.floor(ms / 1000))
      const transactions = reply.transactions.map(({ txid, seenAtMs, rawTx }) => ({
        txid,
        tx: hex(rawTx),
        first_seen: seconds(seenAtMs),
      }))
      return { type, transactions }
    }
    case 'Spends':
      return {
        type,
        height: reply.height,
        block_hash: reply.blockHash,
        indexed_from: reply.indexedFrom,
        spends: reply.spends.map(spendRow),
      }
    case 'Spend':
      return { type, ...spendRow(reply) }
    case 'Registered':
      return {
        type,
        count: reply.count,
        until_height: reply.untilHeight,
        unfunded: reply.unfunded ?? 0,
        unfunded_until: reply.unfundedUntil ?? null,
      }
    case 'Bonds':
      return {
        type,
        height: reply.height,
        block_hash: reply.blockHash,
        digest: hex(reply.digest),
        total: reply.total,
        unseen: reply.unseen ?? null,
        bonds: reply.bonds.map((bond) => bondRowOf(bond, reply.height)),
      }
    case 'BondProof':
      return { type, height: reply.height, header: hex(reply.header), merkle: hex(reply.merkle), tx: hex(reply.tx) }
    case 'Trackers':
      return { type, trackers: reply.trackers.map(trackerRowOf) }
    case 'Posted':
      return { type, outpoint: formatOutpoint(reply.outpoint), address: reply.address }
    case 'Why':
      return { type, ...whyRowOf(reply) }
    case 'Error':
      return { type, code: reply.code, message: reply.message }
    case 'Pong': {
      const { height, blockHash, digest } = reply.blockHash === NO_BLOCK ? {} : reply
      return {
        type,
        address: printable(reply.address),
        version: reply.version === undefined ? null : printable(reply.version),
        network: reply.network === undefined ? null : printable(reply.network),
        height: height ?? null,
        block_hash: blockHash ?? null,
        digest: digest ? hex(digest) : null,
      }
    }
    case 'Status':
      return { type, ...statusRowOf(reply) }
  }
}

/** What a proof is worth with headers alone: which block the bond is in, or why the proof doesn't hold. */
export function checkProof(
  reply: ReplyOf<'BondProof'>,
  outpoint: Outpoint,
  { network, allowTestAddresses }: Config,
): SpvVerdict {
  return verifyBondProof(reply, { outpoint }, { network, allowTestAddresses })
}

export function describeProofVerdict(verdict: SpvVerdict, height: number): string {
  if (!verdict.ok) return `DOES NOT HOLD (${verdict.fault}): ${verdict.detail}`
  const { blockHash, bond } = verdict
  return `holds: ${bond.address} announced ${bond.amountSats} sats in block ${blockHash}, at height ${height} as the tracker says: look the hash up in your own headers`
}

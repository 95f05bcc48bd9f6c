/** The query verb: asks any tracker, through Tor or on this machine. */
import type { Socket } from 'node:net'
import { type SpvVerdict, verifyBondProof } from '../bonds/spv.ts'
import { formatOutpoint, type Outpoint, parseOutpoint } from '../chain/types.ts'
import { type Config, socksOf } from '../config.ts'
import { ConfigError, TransientError, UnreachableError } from '../errors.ts'
import { printable, utc } from '../format.ts'
import { type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import { dial, routeTo } from '../tor/socks.ts'
import { ask, NoReply } from '../wire/client.ts'
import type { BondFields, Reply, Request } from '../wire/messages.ts'
import { type Ask, walkBonds } from '../wire/walk.ts'
import { describeSpend, table } from './text.ts'

const LIMITS = {
  /** A fresh circuit to an onion service takes seconds; one that dies under us is known by then. */
  dialMs: 30_000,
  replyMs: 60_000,
  /** Tor loses a circuit now and then: each try has one of its own. */
  tries: 3,
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
  return withTracker(config, trackerAddress(target), signal, (askTracker) =>
    question.type === 'Bonds' ? walkBonds(askTracker, { all: question.all }) : askTracker(question),
  )
}

/** Runs `work` on a connection of its own, and again on another one when Tor lost it. Throws UnreachableError. */
export async function withTracker<T>(
  config: Config,
  address: HostPort,
  signal: AbortSignal,
  work: (ask: Ask) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    let asked: Request['type'] | undefined
    try {
      const socket = await dialTracker(config, address, signal)
      try {
        return await work((request) => {
          asked = request.type
          return ask(socket, request, { timeoutMs: LIMITS.replyMs, signal })
        })
      } finally {
        socket.destroy()
      }
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      if (tries < LIMITS.tries && routeTo(address.host, socksOf(config)) !== 'direct') continue
      const isClosed = error instanceof NoReply && error.how === 'closed'
      const hint = isClosed && asked === 'Get' ? ' (as a tracker that is not synced does: ask its status)' : ''
      throw new UnreachableError(error.message + hint, { cause: error })
    }
  }
}

/** A connection of its own, over a circuit of its own. Throws TransientError. */
export function dialTracker(config: Config, address: HostPort, signal: AbortSignal): Promise<Socket> {
  return dial(address, { socks: socksOf(config), timeoutMs: LIMITS.dialMs, signal })
}

export function describeReply(reply: Reply): string {
  switch (reply.type) {
    case 'Address':
      return reply.addresses.length > 0 ? reply.addresses.map((address) => printable(address)).join('\n') : 'no makers'
    case 'WatchResponse':
      if (reply.transactions.length === 0) return 'no spend known'
      return reply.transactions.map(({ txid, seenAtMs }) => `${txid}  first seen ${utc(seenAtMs)}`).join('\n')
    case 'Spends':
      return reply.spends.map(describeSpend).join('\n')
    case 'Spend':
      return describeSpend(reply)
    case 'Registered':
      return `${reply.count} registered until block ${reply.untilHeight}`
    case 'Bonds':
      return describeBondPage(reply)
    case 'BondProof':
      return [
        `height   ${reply.height}`,
        `header   ${Buffer.from(reply.header).toString('hex')}`,
        `merkle   ${Buffer.from(reply.merkle).toString('hex')}`,
        `tx       ${Buffer.from(reply.tx).toString('hex')}`,
      ].join('\n')
    case 'Trackers':
      return describeTrackers(reply)
    case 'Posted':
      return `${reply.address} is proven to own ${formatOutpoint(reply.outpoint)}`
    case 'Why':
      return [
        `${reply.address} is ${reply.listed ? 'listed' : 'NOT listed'}`,
        ...reply.reasons.map(({ code, text }) => `- ${code}: ${text}.`),
      ].join('\n')
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

function describeTrackers({ trackers }: Extract<Reply, { type: 'Trackers' }>): string {
  if (trackers.length === 0) return 'it knows no other tracker'
  return table([
    ['ADDRESS', 'LAST SEEN', 'BLOCK', 'LIST'],
    ...trackers.map(({ address, lastSeenS, height, agrees }) => [
      printable(address),
      utc(lastSeenS * 1000),
      String(height),
      agrees === undefined ? 'not compared' : agrees ? 'agrees' : 'DIFFERS',
    ]),
  ])
}

function describeBondPage({ height, blockHash, digest, bonds }: Extract<Reply, { type: 'Bonds' }>): string {
  const head = ['STATE', 'ADDRESS', 'FMT', 'SATS', 'VALUE', 'CONFIRMED', 'LOCK', 'MAKER', 'OUTPOINT']
  const body = bonds.map((bond) => [
    bond.refusal === undefined ? bond.state : `${bond.state} (${printable(bond.refusal)})`,
    printable(bond.address),
    bond.format,
    String(bond.amountSats),
    String(bond.value),
    bond.state === 'pending' ? '-' : String(bond.confHeight),
    String(bond.lockHeight ?? '-'),
    describeMaker(bond),
    formatOutpoint(bond.outpoint),
  ])
  const last = `${bonds.length} bonds at block ${height} (${blockHash}), digest ${Buffer.from(digest).toString('hex')}`
  return bonds.length === 0 ? last : `${table([head, ...body])}\n${last}`
}

function describeMaker({ reach, proven, probes, uptimePpm }: BondFields): string {
  const parts: string[] = [reach]
  if (uptimePpm !== undefined) parts.push(`${(uptimePpm / 10_000).toFixed(1)} % of ${probes}`)
  if (proven) parts.push('proven')
  return parts.join(', ')
}

/** What a proof is worth with headers alone: which block the bond is in, or why the proof doesn't hold. */
export function checkProof(
  reply: Extract<Reply, { type: 'BondProof' }>,
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

/** The reply as JSON: snake_case as on the wire, bytes as hex, hashes in display order. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const snake = (name: string) =>
    name
      .replace(/(Time|Seen|Up)S$/, '$1')
      .replace(/Sats$/, '')
      .replace(/Ms$/, '')
      .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  const plain = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    if (Array.isArray(value)) return value.map(plain)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, inner]) => inner !== undefined)
        .map(([name, inner]) => [snake(name), plain(inner)]),
    )
  }
  return plain(reply) as Record<string, unknown>
}

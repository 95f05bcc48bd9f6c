/** The query verb: asks any tracker, through Tor or on this machine. */
import type { Socket } from 'node:net'
import { type SpvVerdict, verifyBondProof } from '../bonds/spv.ts'
import { NETWORKS, type Outpoint, parseOutpoint } from '../chain/types.ts'
import { type Config, socksOf } from '../config.ts'
import { ConfigError, describeError, TransientError, UnreachableError } from '../errors.ts'
import { printable } from '../format.ts'
import { formatHostPort, type HostPort, isOnionHost, parseHostPort } from '../tor/address.ts'
import { onionAddressFault, tidyAddress } from '../tor/pasted-address.ts'
import { dial, routeTo } from '../tor/socks.ts'
import { ask, NoReply } from '../wire/client.ts'
import type { Reply, ReplyOf, Request } from '../wire/messages.ts'
import { type AskTracker, walkBonds } from '../wire/walk.ts'
import { systemClock } from '../world.ts'
import { txidIn } from './command.ts'

const LIMITS = {
  /** A fresh circuit to an onion service takes seconds; one that dies under us is known by then. */
  dialMs: 30_000,
  replyMs: 60_000,
  /** Tor loses a circuit now and then: each try has one of its own. */
  tries: 3,
  /** Everything that one try asks, together: a hundred pages over a slow circuit, and no tracker that drags them out. */
  tryMs: 600_000,
}

/** To be told beside the answer to a v1 `Watch`, which is the one that registers. */
export const REGISTERS =
  'asked as takers do, which has the tracker watch it for 2,016 blocks if a place is free: --no-register only asks'

/** What it says of a tracker that it closes on a request without a word. */
const CLOSED_ON: { readonly [T in Request['type']]?: string } = {
  Get: ' (as a tracker that is not synced does: ask its status)',
  Status: ' (as one of version 1 does, which knows little more than get and watch)',
}

/** Of a port of this machine that nobody listens at. */
const NOBODY_THERE = ': is a tracker running, and is that its --address?'

/** What is asked: one request, or `Bonds` page by page. */
export type Question = Exclude<Request, { type: 'Bonds' }> | { type: 'Bonds'; all: boolean }

export interface QuestionOptions {
  all?: boolean
  /** False: `watch` only asks, and leaves no registration behind. */
  register?: boolean
}

/** `about`: the outpoint for watch and bond-proof, the maker for why. Throws ConfigError for what can't be asked. */
export function questionOf(
  word: string,
  about: string | undefined,
  { all = false, register = true }: QuestionOptions = {},
): Question {
  if (about !== undefined && !['watch', 'bond-proof', 'why'].includes(word)) {
    throw new ConfigError(`${word} takes nothing after it`)
  }
  if (all && word !== 'bonds') throw new ConfigError('--all is for bonds')
  if (!register && word !== 'watch') throw new ConfigError('--no-register is for watch')
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
      return register
        ? { type: 'Watch', outpoint: outpointOf(word, about) }
        : { type: 'WatchMany', outpoints: [outpointOf(word, about)] }
    case 'why':
      if (about === undefined) throw new ConfigError("why wants a maker's address: <56 characters>.onion:<port>")
      if (txidIn(about)) {
        throw new ConfigError(
          'a tracker is asked why of a maker; of a transaction ask your own: fidelity-tracker why <txid>',
        )
      }
      return { type: 'Why', address: tidyAddress(about) }
    default:
      throw new ConfigError(
        `${word} is no request: use get, status, ping, trackers, bonds, bond-proof <txid:vout>, watch <txid:vout>, or why <address>`,
      )
  }
}

function outpointOf(word: string, text = ''): Outpoint {
  const parsed = parseOutpoint(text.trim().toLowerCase())
  if (!parsed) throw new ConfigError(`${word} wants an outpoint: <txid as bitcoin-cli prints it>:<vout>`)
  return parsed
}

/** The tracker somebody named. Throws ConfigError. */
export function trackerAddress(target: string): HostPort {
  const tidied = tidyAddress(target)
  const onion = parseHostPort(tidied)
  if (onion && isOnionHost(onion.host)) return onion
  if (isOnionHost(tidied)) {
    throw new ConfigError(`${tidied} lacks the port: ${tidied}:8080, unless its operator says another one`)
  }
  if (/\.onion(:|$)/.test(tidied)) {
    throw new ConfigError(`${printable(target, 100)} is no onion address: ${onionAddressFault(tidied)}`)
  }
  const address = parseHostPort(target)
  if (address) return address
  throw new ConfigError(
    `${printable(target, 100)} is no address: expected host:port, for example <56 characters>.onion:8080`,
  )
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
      const isRefused = asked === undefined && describeError(error).includes('ECONNREFUSED')
      const hint = isRefused ? NOBODY_THERE : (isClosed && asked && CLOSED_ON[asked]) || ''
      throw new UnreachableError(error.message + hint, { cause: error })
    }
  }
}

/** A connection of its own, over a circuit of its own. Throws TransientError. */
export function dialTracker(config: Config, address: HostPort, signal: AbortSignal): Promise<Socket> {
  return dial(address, { socks: socksOf(config), timeoutMs: LIMITS.dialMs, signal })
}

/** What a proof is worth with headers alone: which block the bond is in, or why the proof doesn't hold. */
export function checkProof(
  reply: ReplyOf<'BondProof'>,
  outpoint: Outpoint,
  { network, allowTestAddresses }: Config,
): SpvVerdict {
  return verifyBondProof(reply, { outpoint }, { network, allowTestAddresses })
}

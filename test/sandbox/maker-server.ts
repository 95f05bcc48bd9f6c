/**
 * The far end of a probe: a simulated maker on 127.0.0.1, of any release, well-behaved or not. It takes requests byte for
 * byte as the programs of that release send them and closes on anything else, as the real ones do.
 * Source: docs/makers.md, "Dialects".
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { CborMap, decode, type Encodable, encode } from '../../src/wire/cbor.ts'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import type { BondKey } from './bond-key.ts'
import type { LieName } from './lies.ts'
import { type OfferedBond, type OfferOptions, offerMessage, type Release } from './offer.ts'

export interface MakerPlan {
  /** Default: today's. */
  release?: Release
  /** What it does instead of answering; default: it answers. */
  manners?: Manners
  /** With the manners `slow`: before each answer. Default 5 s. */
  delayMs?: number
  /** What its offer is not right about. */
  lie?: LieName
  /** What it asks, instead of the release's default terms. */
  terms?: OfferOptions['terms']
  /** Asked for its offer, it says that it does not support that. */
  isUnsupporting?: boolean
  /** It takes so many connections at once and a second, all callers together, and closes on the others without a word. */
  admission?: { burst: number; perSecond: number }
}

/** Of today's makers. */
export const ADMISSION_OF_TODAY = { burst: 30, perSecond: 4 }

/** `silent` accepts and never answers; `closes` at once; `rubbish` and `huge` (10 MiB) are frames, but no replies. */
export type Manners = 'silent' | 'slow' | 'closes' | 'rubbish' | 'huge'

export interface MakerServerOptions extends MakerPlan {
  /** 0: any free one. */
  listenPort: number
  bond: OfferedBond
  /** Another key of the maker's wallet; some lies need it. */
  otherKey: BondKey
  /** What it calls itself in a Pong, `host:port`. */
  pongAddress: string
}

export interface MakerServer extends AsyncDisposable {
  readonly port: number
  /** Every request that came, prefix included, in hex. */
  readonly heard: readonly string[]
}

const HUGE_BYTES = 10_485_760
const RUBBISH = Buffer.from('this is no CBOR item, and no maker says it', 'latin1')

const VERSIONS = { protocol_version_min: 1, protocol_version_max: 1 }
const OLD_HELLO = encode({ MakerHello: VERSIONS })
const UNSUPPORTED = encode({ Unsupported: { what: 'GetOffer', reason: 'Lightning\u001b[2J only' } })
const PROTOCOLS = encode({ MakerHello: { supported_protocols: ['Legacy', 'Taproot'] } })

/** Requests in the order they must come on one connection; the last is answered with the offer, those before with `hello`. */
interface Speech {
  prefix?: number
  requests: readonly Encodable[]
  hello?: Buffer
  /** In which form it is pinged, if it knows pings. */
  ping?: 'fields' | 'unit'
}

const LEGACY: Speech = { requests: [{ TakerHello: VERSIONS }, { ReqGiveOffer: null }], hello: OLD_HELLO }
const TAPROOT: Speech = { requests: [{ GetOffer: { ...VERSIONS, number_of_transactions: 1 } }] }
const UNIFIED: Speech = { requests: [{ TakerHello: null }, { GetOffer: null }], hello: PROTOCOLS }

const SPEECH: { readonly [R in Release]: Speech } = {
  '0.1.2': { ...LEGACY, prefix: 0x01, ping: 'unit' },
  '0.1.3': { ...LEGACY, prefix: 0x01, ping: 'fields' },
  '0.1.3-taproot': { ...TAPROOT, prefix: 0x01, ping: 'fields' },
  '0.2.0': LEGACY,
  '0.2.0-taproot': TAPROOT,
  '0.2.1': UNIFIED,
  '0.2.2': UNIFIED,
  today: UNIFIED,
}

export async function serveMaker(options: MakerServerOptions): Promise<MakerServer> {
  const { release = 'today', lie, terms, bond, otherKey, manners, delayMs = 5_000 } = options
  const speech = SPEECH[release]
  const offer = encode(
    offerMessage(bond, { release, ...(terms && { terms }), ...(lie && { lie: { name: lie, otherKey } }) }),
  )
  const pong = encode({ Pong: { address: options.pongAddress } })
  const expected = speech.requests.map((request) =>
    Buffer.from(encodeFrame(encode(request), speech.prefix).subarray(4)),
  )
  const heard: string[] = []
  const sockets = new Set<Socket>()

  /** To a request that comes as number `step` of its connection; undefined: no reply, and the connection is closed. */
  const replyTo = (request: Buffer, step: number): Buffer | undefined => {
    if (manners === 'rubbish') return RUBBISH
    if (manners === 'huge') return Buffer.alloc(HUGE_BYTES)
    if (speech.ping && request[0] === 0x02) return isPing(request.subarray(1), speech.ping) ? pong : undefined
    if (!expected[step]?.equals(request)) return undefined
    if (step < expected.length - 1) return speech.hello
    return options.isUnsupporting ? UNSUPPORTED : offer
  }

  const admits = admissionOf(options.admission)
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    if (manners === 'closes' || !admits()) return socket.destroy()
    const frames = new FrameReader(65_536)
    let step = 0
    socket.on('data', (chunk) => {
      frames.push(chunk)
      for (let request = nextFrame(frames, socket); request; request = nextFrame(frames, socket)) {
        heard.push(request.toString('hex'))
        if (manners === 'silent') continue
        const reply = replyTo(request, step++)
        if (!reply) return socket.destroy()
        if (manners === 'slow') setTimeout(() => socket.write(encodeFrame(reply)), delayMs).unref()
        else socket.write(encodeFrame(reply))
      }
    })
  }).listen(options.listenPort, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    heard,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await once(server.close(), 'close')
    },
  }
}

/** A token bucket; full at the start. */
function admissionOf(limits: MakerPlan['admission']): () => boolean {
  if (!limits) return () => true
  let tokens = limits.burst
  let atMs = performance.now()
  return () => {
    const nowMs = performance.now()
    tokens = Math.min(limits.burst, tokens + ((nowMs - atMs) / 1000) * limits.perSecond)
    atMs = nowMs
    if (tokens < 1) return false
    tokens--
    return true
  }
}

/** No reply to what is no frame either. */
function nextFrame(frames: FrameReader, socket: Socket): Buffer | undefined {
  try {
    return frames.next()
  } catch {
    socket.destroy()
    return undefined
  }
}

function isPing(item: Buffer, form: 'fields' | 'unit'): boolean {
  if (form === 'unit') return item.equals(encode('Ping'))
  try {
    const ping = decode(item)
    const [name, fields] = (ping instanceof CborMap && ping.head === 0xa1 && ping.entries[0]) || []
    if (name !== 'Ping' || !(fields instanceof CborMap)) return false
    const types = new Map(fields.entries.map(([key, value]) => [key, typeof value]))
    return types.get('address') === 'string' && types.get('port') === 'number'
  } catch {
    return false
  }
}

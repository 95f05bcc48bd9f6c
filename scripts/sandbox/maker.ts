/**
 * A simulated maker: a process of its own, behind its own onion service or directly on 127.0.0.1, answering today's maker
 * protocol (TakerHello → MakerHello, GetOffer → Offer; anything else closes). Settings come as JSON in its only argument; it prints one JSON
 * line once it is reachable, and ends with its parent or on SIGTERM.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { parseOutpoint } from '../../src/chain/types.ts'
import type { HostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { expandSeed } from '../../src/tor/key.ts'
import { decode, encode } from '../../src/wire/cbor.ts'
import { encodeFrame, FrameReader } from '../../src/wire/frame.ts'
import { bondKey } from './bond-key.ts'
import { offerMessage } from './offer.ts'

export interface MakerSettings {
  name: string
  /** By the Tor of this control port, or on this port of 127.0.0.1 (test addresses). */
  reach: { control: HostPort; virtualPort: number } | { listenPort: number }
  /** `certAddress`: `<56>.onion`, or `127.0.0.1:<port>`. */
  bond: { outpoint: string; amountSats: number; lockHeight: number; confHeight: number; certAddress: string }
}

const settings = JSON.parse(process.argv[2]!) as MakerSettings
const { bond, reach } = settings
const MAKER_HELLO = encode({ MakerHello: { supported_protocols: ['Legacy', 'Taproot'] } })
const OFFER = encode(
  offerMessage({
    ...bond,
    outpoint: parseOutpoint(bond.outpoint)!,
    key: bondKey(settings.name),
  }),
)
const TAKER_HELLO = encode({ TakerHello: null })
const GET_OFFER = encode({ GetOffer: null })

const server = createServer({ noDelay: true }, (socket) => {
  const frames = new FrameReader(65_536)
  let phase: 'hello' | 'offer' | 'done' = 'hello'
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    try {
      frames.push(chunk)
      for (let payload = frames.next(); payload; payload = frames.next()) {
        decode(payload)
        if (phase === 'hello' && payload.equals(TAKER_HELLO)) {
          phase = 'offer'
          socket.write(encodeFrame(MAKER_HELLO))
        } else if (phase === 'offer' && payload.equals(GET_OFFER)) {
          phase = 'done'
          socket.write(encodeFrame(OFFER))
        } else {
          socket.destroy()
        }
      }
    } catch {
      socket.destroy() // as the real ones do: no reply to what is not understood
    }
  })
}).listen('listenPort' in reach ? reach.listenPort : 0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as { port: number }

const reachable = 'listenPort' in reach ? `127.0.0.1:${port}` : await publish(reach)
process.stdout.write(`${JSON.stringify({ reachable })}\n`)

// The parent's end closes our standard input.
process.stdin.resume().on('end', () => process.exit(0))
process.on('SIGTERM', () => process.exit(0))

/** The maker's onion service; lasts as long as this process. Resolves once its descriptor is uploaded. */
async function publish({ control, virtualPort }: { control: HostPort; virtualPort: number }): Promise<string> {
  const line = new TorControl({ control, password: undefined })
  await line.connect()
  const { expanded } = expandSeed(createHash('sha256').update(settings.name).digest())
  const label = bond.certAddress.replace('.onion', '')
  const uploaded = Promise.withResolvers<void>()
  await line.subscribe(['HS_DESC'], (event) => {
    if (event.startsWith(`HS_DESC UPLOADED ${label} `)) uploaded.resolve()
  })
  await line.must(`ADD_ONION ED25519-V3:${expanded.toString('base64')} Port=${virtualPort},127.0.0.1:${port}`)
  await uploaded.promise
  return `${bond.certAddress}:${virtualPort}`
}

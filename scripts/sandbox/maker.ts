/**
 * A simulated maker: a process of its own behind its own onion service, answering today's maker protocol (TakerHello →
 * MakerHello, GetOffer → Offer; anything else closes). Settings come as JSON in its only argument; it prints one JSON
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
  control: HostPort
  virtualPort: number
  bond: { outpoint: string; amountSats: number; lockHeight: number; confHeight: number; onionHost: string }
}

const settings = JSON.parse(process.argv[2]!) as MakerSettings
const { bond } = settings
const MAKER_HELLO = encode({ MakerHello: { supported_protocols: ['Legacy', 'Taproot'] } })
const OFFER = encode(
  offerMessage({
    ...bond,
    outpoint: parseOutpoint(bond.outpoint)!,
    key: bondKey(settings.name),
    certAddress: bond.onionHost,
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
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as { port: number }

const control = new TorControl({ control: settings.control, password: undefined })
await control.connect()
const { expanded } = expandSeed(createHash('sha256').update(settings.name).digest())
const label = bond.onionHost.replace('.onion', '')
const uploaded = Promise.withResolvers<void>()
await control.subscribe(['HS_DESC'], (line) => {
  if (line.startsWith(`HS_DESC UPLOADED ${label} `)) uploaded.resolve()
})
await control.must(`ADD_ONION ED25519-V3:${expanded.toString('base64')} Port=${settings.virtualPort},127.0.0.1:${port}`)
await uploaded.promise
process.stdout.write(`${JSON.stringify({ reachable: `${bond.onionHost}:${settings.virtualPort}` })}\n`)

// The parent's end closes our standard input.
process.stdin.resume().on('end', () => process.exit(0))
process.on('SIGTERM', () => process.exit(0))

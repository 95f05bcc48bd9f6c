/**
 * A simulated maker as a process of its own, behind its own onion service or directly on 127.0.0.1. What it says and how
 * it misbehaves: maker-server.ts. Settings come as JSON in its only argument, a list for several makers in one process;
 * it prints one JSON line once they are reachable, and ends with its parent or on SIGTERM.
 */
import { parseOutpoint } from '../../src/chain/types.ts'
import type { HostPort } from '../../src/tor/address.ts'
import { bondKey } from './bond-key.ts'
import { type MakerPlan, serveMaker } from './maker-server.ts'
import { publishOnion } from './onion-service.ts'

export interface MakerSettings extends MakerPlan {
  name: string
  /** By the Tor of this control port, or on this port of 127.0.0.1 (test addresses). */
  reach: { control: HostPort; virtualPort: number } | { listenPort: number }
  /** `certAddress`: `<56>.onion`, or `127.0.0.1:<port>`; makers before April 2026: `<56>.onion:<port>`. */
  bond: { outpoint: string; amountSats: number; lockHeight: number; confHeight: number; certAddress: string }
}

const given = JSON.parse(process.argv[2]!) as MakerSettings | MakerSettings[]
const makers = Array.isArray(given) ? given : [given]

const reachables = await Promise.all(makers.map(startMaker))
process.stdout.write(`${JSON.stringify({ reachable: reachables[0], reachables })}\n`)

// The parent's end closes our standard input.
process.stdin.resume().on('end', () => process.exit(0))
process.on('SIGTERM', () => process.exit(0))

async function startMaker({ name, reach, bond, ...plan }: MakerSettings): Promise<string> {
  const onionHost = bond.certAddress.replace(/:\d+$/, '')
  const { port } = await serveMaker({
    ...plan,
    listenPort: 'listenPort' in reach ? reach.listenPort : 0,
    bond: { ...bond, outpoint: parseOutpoint(bond.outpoint)!, key: bondKey(name) },
    otherKey: bondKey(name, 1),
    pongAddress: 'virtualPort' in reach ? `${onionHost}:${reach.virtualPort}` : bond.certAddress,
  })
  if ('listenPort' in reach) return `127.0.0.1:${port}`
  const { control, virtualPort } = reach
  await publishOnion(control, { name, virtualPort, port })
  return `${onionHost}:${virtualPort}`
}

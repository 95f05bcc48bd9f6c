/**
 * A tracker's part in holding a shared onion address, as a process of its own: `node address-holder.ts <options as JSON>`.
 * The lease is asked for at a server of the test's. Writes a line for each thing that happens.
 */
import pino from 'pino'
import { TransientError } from '../../src/errors.ts'
import { AddressLease } from '../../src/tor/address-lease.ts'
import { Healing } from '../../src/tor/healing.ts'
import { OnionService } from '../../src/tor/onion.ts'
import { type Clock, systemClock } from '../../src/world.ts'

export interface HolderOptions {
  name: string
  control: { host: string; port: number }
  keyFile: string
  /** Of the lease server. */
  leasePort: number
}

const { name, control, keyFile, leasePort } = JSON.parse(process.argv[2]!) as HolderOptions
const clock: Clock = systemClock
const world = { clock, random: Math.random, log: pino({ level: 'silent' }) }
const say = (what: string) => process.stdout.write(`${what}\n`)

async function ask(verb: string, lengthMs = 0): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${leasePort}/${verb}?holder=${name}&ms=${lengthMs}`, {
      signal: AbortSignal.timeout(2_000),
    })
    return (await answer.text()) === 'true'
  } catch (error) {
    throw new TransientError('the lease server does not answer', { cause: error })
  }
}

let unfit: string | undefined
process.stdin.on('data', (chunk) => {
  const order = String(chunk).trim()
  if (order === 'unfit') unfit = 'the test says so'
  else if (order === 'fit') unfit = undefined
  else if (order === 'hang') for (;;);
})

const service = new OnionService(
  {
    control,
    password: undefined,
    keyFile,
    virtualPort: 8080,
    target: () => ({ host: '127.0.0.1', port: 9 }),
    nostr: undefined,
    streamsPerCircuit: 10,
  },
  {
    ...world,
    report: ({ kind }) => say(kind),
    uploaded() {},
    healing: new Healing(60_000, clock),
    republished() {},
  },
)
const lease = new AddressLease({
  ...world,
  onionHost: 'shared.onion',
  leases: { take: (_, lengthMs) => ask('take', lengthMs), drop: async () => void (await ask('drop')) },
  unfit: () => unfit,
  report: (state) => say(state.kind === 'holder' ? 'holder' : `standby: ${state.why}`),
})
const stop = new AbortController()
process.on('SIGTERM', () => stop.abort(new DOMException('stop', 'AbortError')))
try {
  await lease.run((tenure) => service.run(tenure.signal, (...to) => tenure.openLine(...to)), stop.signal)
} catch (error) {
  if (!stop.signal.aborted) throw error
}
process.exit(0)

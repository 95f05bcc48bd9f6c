/**
 * One onion address, one holder at a time, on the private Tor network: three trackers' parts in it are processes of their
 * own, each with its own Tor, and the lease is kept by a server of this test's. What counts is what the Tors themselves
 * list, looked at all the time: never two, and soon one again.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { onionHostOf } from '../../src/tor/address.ts'
import { HELD_BY_ANOTHER, LEASE_TIMES } from '../../src/tor/address-lease.ts'
import { TorControl } from '../../src/tor/control.ts'
import { decodeOnionKey, openOnionKey } from '../../src/tor/key.ts'
import { publicKeyOf } from '../../src/tor/public-key.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { waitUntil } from '../sandbox/wait.ts'
import type { HolderOptions } from '../support/address-holder.ts'
import { tempDir } from '../support/temp-dir.ts'

const HOLDER = new URL('../support/address-holder.ts', import.meta.url).pathname
/** Half of the margin between two holders. */
const LOOK_MS_MAX = LEASE_TIMES.marginMs / 2

let tor: TorNetwork
before(async () => {
  tor = await TorNetwork.start({ clients: 3 })
})
after(async () => await tor?.[Symbol.asyncDispose]())

/** The lease as a store keeps it: by its own clock. */
class LeaseServer {
  #holder: string | undefined
  #untilMs = 0
  readonly refused = new Set<string>()
  readonly server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://x')
    const holder = searchParams.get('holder')!
    if (this.refused.has(holder)) return void request.socket.destroy()
    response.end(String(pathname === '/take' ? this.#take(holder, Number(searchParams.get('ms'))) : this.#drop(holder)))
  })

  #take(holder: string, lengthMs: number): boolean {
    const nowMs = performance.now()
    if (this.#holder !== holder && nowMs < this.#untilMs) return false
    this.#holder = holder
    this.#untilMs = nowMs + lengthMs
    return true
  }

  #drop(holder: string): boolean {
    if (this.#holder === holder) this.#untilMs = 0
    return true
  }
}

/** One tracker's part. */
class Holder {
  readonly said: string[] = []
  readonly process: ChildProcess

  constructor(options: HolderOptions) {
    this.process = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, HOLDER, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.process.stdout!.on('data', (chunk) => this.said.push(...String(chunk).trim().split('\n')))
  }

  order(what: 'hang' | 'unfit' | 'fit'): void {
    this.process.stdin!.write(`${what}\n`)
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal)
  }
}

/** Three of them, and who has published, by what their Tors list. */
async function startThree(t: TestContext) {
  const leases = new LeaseServer()
  leases.server.listen(0, '127.0.0.1')
  await once(leases.server, 'listening')
  t.after(() => {
    leases.server.closeAllConnections()
    leases.server.close()
  })
  const dir = tempDir()
  t.after(() => dir[Symbol.dispose]())
  const keyFile = join(dir.path, 'onion.key')
  const secret = openOnionKey(keyFile) // made now: one for all
  const serviceId = onionHostOf(publicKeyOf(decodeOnionKey(secret.reveal())!)).replace('.onion', '')
  const { port: leasePort } = leases.server.address() as AddressInfo
  const holders: Holder[] = []
  const start = (i: number): void => {
    holders[i] = new Holder({ name: `${i}`, control: tor.clients[i]!.control, keyFile, leasePort })
  }
  for (const i of [0, 1, 2]) start(i)
  t.after(async () => {
    for (const { process: child } of holders) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
  const lines = await Promise.all(
    tor.clients.map(async ({ control, cookieFile }) => {
      const line = new TorControl({ control, cookieFile, password: undefined })
      await line.connect()
      return line
    }),
  )
  const has = async (line: TorControl) => {
    const { type } = await line.sendCommand(`GETINFO hs/service/desc/id/${serviceId}`)
    return type === 250 // 551: it has no such service
  }
  /** As the last look found it; looked at until the test ends. */
  let listed: number[] = []
  const looks = { count: 0, doubles: [] as number[][] }
  let isOver = false
  const watching = (async () => {
    while (!isOver) {
      const atMs = performance.now()
      const found = await Promise.all(lines.map(has))
      listed = found.flatMap((isThere, i) => (isThere ? [i] : []))
      // A look that took long is none of one moment.
      if (performance.now() - atMs < LOOK_MS_MAX) {
        looks.count++
        if (listed.length > 1) looks.doubles.push(listed)
      }
      await pause(5)
    }
  })()
  t.after(async () => {
    isOver = true
    await watching
    for (const line of lines) line[Symbol.dispose]()
  })
  /** Resolves with the only one that has published, other than `before`. */
  const published = async (before?: number): Promise<number> => {
    const found = await waitUntil(
      'one has published',
      () => {
        const [i] = listed
        const isSo = listed.length === 1 && i !== before && holders[i!]!.said.at(-1) === 'published'
        return isSo && { i: i! }
      },
      { timeoutMs: 60_000, everyMs: 10 },
    )
    return found.i
  }
  const withdrawn = (i: number) =>
    waitUntil('its Tor has no service', () => !listed.includes(i), { timeoutMs: 20_000, everyMs: 5 })
  return { leases, holders, start, published, withdrawn, looks }
}

/** What may happen to a holder, and how it comes back. */
const TROUBLES: { what: string; befall: (holder: Holder) => void; back: ((holder: Holder) => void) | 'restart' }[] = [
  { what: 'killed', befall: (holder) => holder.signal('SIGKILL'), back: 'restart' },
  { what: 'frozen', befall: (holder) => holder.signal('SIGSTOP'), back: (holder) => holder.signal('SIGCONT') },
  { what: 'busy for ever', befall: (holder) => holder.order('hang'), back: 'restart' },
  { what: 'not fit to serve', befall: (holder) => holder.order('unfit'), back: (holder) => holder.order('fit') },
  { what: 'stopped', befall: (holder) => holder.signal('SIGTERM'), back: 'restart' },
]

for (const { what, befall, back } of TROUBLES) {
  test(`a holder that is ${what} has withdrawn before another publishes, which is soon; it does not come back`, async (t) => {
    const { holders, start, published, withdrawn, looks } = await startThree(t)
    const first = await published()
    const atMs = performance.now()
    befall(holders[first]!)
    await withdrawn(first)
    const withdrawnMs = performance.now() - atMs
    const second = await published(first)
    const tookMs = performance.now() - atMs
    t.diagnostic(`withdrawn after ${Math.round(withdrawnMs)} ms, published by another after ${Math.round(tookMs)} ms`)

    const old = holders[first]!
    if (back === 'restart') {
      old.signal('SIGKILL')
      start(first)
    } else {
      old.said.length = 0
      back(old)
    }
    await waitUntil('it stands by', () => holders[first]!.said.includes(`standby: ${HELD_BY_ANOTHER}`))
    assert.equal(await published(), second)
    assert.ok(looks.count > 50)
    assert.deepEqual(looks.doubles, [])
  })
}

test('a holder cut off from the store withdraws in time; one whose store is away for a second goes on', async (t) => {
  const { leases, holders, published, withdrawn, looks } = await startThree(t)
  const first = await published()
  const saidBefore = holders[first]!.said.length
  const awaySinceMs = performance.now()
  for (const i of [0, 1, 2]) leases.refused.add(`${i}`)
  await waitUntil('the others know', () =>
    holders.every(({ said }, i) => i === first || /can't be asked/.test(said.at(-1)!)),
  )
  leases.refused.clear()
  const awayMs = performance.now() - awaySinceMs
  await waitUntil('they are answered', () =>
    holders.every(({ said }, i) => i === first || said.at(-1) === `standby: ${HELD_BY_ANOTHER}`),
  )
  // On a machine that is too busy it was away for longer than a lease lasts.
  if (awayMs < 1_000) assert.equal(holders[first]!.said.length, saidBefore, 'the holder has gone on')

  const atMs = performance.now()
  leases.refused.add(`${first}`)
  await withdrawn(first)
  const second = await published(first)
  const tookMs = performance.now() - atMs
  t.diagnostic(`published by another after ${Math.round(tookMs)} ms`)
  leases.refused.clear()
  await waitUntil('it stands by', () => holders[first]!.said.at(-1) === `standby: ${HELD_BY_ANOTHER}`)
  assert.equal(await published(), second)
  assert.deepEqual(looks.doubles, [])
})

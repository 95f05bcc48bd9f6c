/**
 * A maker that takes a few connections a second, all callers together, and closes on the others at once, as those of today do:
 * a process of its own, flooded by a stranger, is never down while it lives, and is once it is dead.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { formatOutpoint } from '../../src/chain/types.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { type ProbeRow, readProbes } from '../../src/store/shared/probes.ts'
import type { MakerRow } from '../../src/views/schemas/makers.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { startMakers } from '../sandbox/maker-process.ts'
import { ADMISSION_OF_TODAY } from '../sandbox/maker-server.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'

const FAST = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1', '--probe-timeout', '6']
const WAIT = { timeoutMs: 180_000, everyMs: 200 }

/** Somebody who opens a hundred connections a second. */
class Flood implements Disposable {
  closedAtOnce = 0
  readonly #timer: NodeJS.Timeout

  constructor(port: number) {
    this.#timer = setInterval(() => {
      for (let i = 0; i < 5; i++) {
        const socket = connect({ host: '127.0.0.1', port })
        const held = setTimeout(() => socket.destroy(), 1_000)
        socket
          .on('error', () => {})
          .on('end', () => this.closedAtOnce++)
          .on('close', () => clearTimeout(held))
          .resume()
      }
    }, 50)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

test('behind its limit of connections a maker is never down while it lives; dead it is', async (t) => {
  await using node = await Regtest.start()
  const [port] = await freePorts(1)
  const address = `127.0.0.1:${port}`
  const funded = await node.fundBond({ key: bondKey('full'), format: 'B', address })
  await node.mine(1)
  const { amountSats, lockHeight } = funded
  const bond = { outpoint: formatOutpoint(funded.outpoint), amountSats, lockHeight, confHeight: await node.height() }
  const maker = await startMakers([
    {
      name: 'full',
      reach: { listenPort: port! },
      bond: { ...bond, certAddress: address },
      admission: ADMISSION_OF_TODAY,
    },
  ])
  t.after(() => maker.kill())
  await using tracker = await Tracker.start(node, { args: FAST, http: true })
  await tracker.caughtUp(node)

  const met = new Set<string>()
  const reachOf = async () => {
    const { json } = await ask(tracker.httpPort!, '/api/v1/makers')
    const { reach } = (json.makers as MakerRow[])[0]!
    met.add(reach)
    return reach
  }
  await waitUntil('it is up', async () => (await reachOf()) === 'up', WAIT)
  const closed = (): ProbeRow[] => {
    using db = openStoreReadonly(tracker.dataDir)
    return readProbes(db, address, 1_000).filter(({ failure }) => failure === 'closed')
  }
  {
    using flood = new Flood(port!)
    const enough = async () => {
      await reachOf()
      return closed().length >= 6
    }
    await waitUntil('it has closed on probe after probe, longer than makes a maker down', enough, WAIT)
    assert.ok(flood.closedAtOnce > 100, 'most connections were closed at once')
    const { reasons } = await tracker.ask({ type: 'Why', address }, 'Why')
    const failing = reasons.find(({ code }) => code === 'failing')
    if (failing) assert.match(failing.text, /was closed without an answer .* never counts as down/)
    assert.deepEqual(await tracker.addresses(), [address], 'it is listed all the while')
  }
  assert.ok(closed().every(({ outcome }) => outcome === 'unjudged'))
  await waitUntil('it is up again', async () => (await reachOf()) === 'up', WAIT)
  assert.ok(!met.has('down'), [...met].join(' '))

  await maker.kill()
  await waitUntil('the dead one is down', async () => (await reachOf()) === 'down', WAIT)
  assert.deepEqual(await tracker.addresses(), [])
})

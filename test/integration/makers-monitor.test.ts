/** The loop of probes on plain sockets: how many at once, how it stops, and what ends it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { asBlockHash, asSats, asTxid } from '../../src/chain/types.ts'
import { CurrentMarket } from '../../src/market.ts'
import { DIRECT_NETWORK, type OwnNetwork } from '../../src/peers/canary.ts'
import { DialBudget } from '../../src/peers/dial-budget.ts'
import { Liveness } from '../../src/peers/liveness.ts'
import { Monitor } from '../../src/peers/monitor.ts'
import { probeRules } from '../../src/peers/reach.ts'
import { insertBond } from '../../src/store/local/bonds.ts'
import { insertBlock } from '../../src/store/local/tip.ts'
import { type Db, openStore } from '../../src/store/open.ts'
import { routeTo } from '../../src/tor/socks.ts'
import { systemClock } from '../../src/world.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { alone } from '../support/alone.ts'
import { onionHost } from '../support/onions.ts'

const HASH = asBlockHash('b1'.repeat(32))
const TIP = { height: 100, hash: HASH, timeS: 1_700_000_000 }

/** A maker that takes connections and does with them what `onSocket` says. */
async function serve(t: TestContext, onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onSocket(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

interface Ours {
  db: Db
  liveness: Liveness
  monitor: Monitor
  stop: AbortController
  running: Promise<void>
}

function start(
  t: TestContext,
  addresses: readonly string[],
  {
    atOnce = 4,
    network = DIRECT_NETWORK as OwnNetwork,
    socks = undefined as { host: string; port: number } | undefined,
    timeoutMs = 60_000,
  } = {},
): Ours {
  const dir = mkdtempSync(join(tmpdir(), 'ft-monitor-'))
  const { db } = openStore(dir, 'regtest')
  insertBlock(db, { height: 100, hash: HASH, prevHash: HASH, timeS: TIP.timeS })
  for (const [i, address] of addresses.entries()) {
    const outpoint = { txid: asTxid(i.toString(16).padStart(64, '0')), vout: 0 }
    const output = { outpoint, address, format: 'D' as const, amountSats: asSats(50_000), isP2wsh: true }
    insertBond(db, { ...output, lockHeight: 15_000 }, 100)
  }
  const market = new CurrentMarket(db, { revision: 1, pendingRevision: 1, tip: () => TIP })
  const rules = probeRules(1_000, true)
  const liveness = new Liveness(db, market, rules, systemClock, alone(db))
  const monitor = new Monitor(
    { rules, atOnce, timeoutMs, socks },
    {
      clock: systemClock,
      random: () => 0.5,
      log: pino({ level: 'silent' }),
      market,
      liveness,
      dials: new DialBudget(systemClock),
      turns: alone(db).shared,
      network,
      judge: () => Promise.reject(new Error('no offer to judge')),
      hasMarket: () => true,
      self: () => ({ host: 'x.onion', port: 1 }),
    },
  )
  const stop = new AbortController()
  const running = monitor.run(stop.signal)
  running.catch(() => {})
  t.after(async () => {
    stop.abort(new Error('the test is over'))
    await running.catch(() => {})
    db[Symbol.dispose]()
    rmSync(dir, { recursive: true })
  })
  return { db, liveness, monitor, stop, running }
}

test('so many at once and not one more; a stop leaves no connection', async (t) => {
  const open = { now: 0, max: 0 }
  const addresses = await Promise.all(
    Array.from({ length: 12 }, () =>
      serve(t, (socket) => {
        open.max = Math.max(open.max, ++open.now)
        socket.resume().on('close', () => open.now--)
      }),
    ),
  )
  const { stop, running, liveness } = start(t, addresses, { atOnce: 4 })
  await waitUntil('four are open', () => open.now === 4)
  stop.abort(new Error('enough'))
  await assert.rejects(running, /enough/)
  await waitUntil('all are closed', () => open.now === 0)
  assert.equal(open.max, 4)
  assert.ok(
    addresses.every((address) => liveness.record(address) === undefined),
    'a probe cut short says nothing',
  )
})

test('makers that were slow last time have half of the places at the most', async (t) => {
  const open = { now: 0, max: 0, sum: 0 }
  const mute = await Promise.all(
    Array.from({ length: 20 }, () =>
      serve(t, (socket) => {
        open.sum++
        open.now++
        socket.resume().on('close', () => open.now--)
        // Those that end as these begin are still seen for a moment.
        setTimeout(() => {
          open.max = Math.max(open.max, open.now)
        }, 500)
      }),
    ),
  )
  const { liveness } = start(t, mute, { atOnce: 10, timeoutMs: 4_000 })
  const areKnown = () => mute.every((address) => liveness.record(address))
  await waitUntil('all were found to be slow', () => areKnown() && open.now <= 5)
  open.max = 0
  const before = open.sum
  await waitUntil('they were asked again', () => open.sum >= before + mute.length, { timeoutMs: 60_000 })
  assert.ok(open.max >= 4 && open.max <= 7, `${open.max} at once`)
})

test('failures that wait for the canary keep nobody else from being probed', async (t) => {
  const closing = await Promise.all(Array.from({ length: 9 }, () => serve(t, (socket) => socket.destroy())))
  const verdict = Promise.withResolvers<boolean>()
  let waiting = 0
  const network: OwnNetwork = {
    mark: () => 1,
    workedSince: () => {
      waiting++
      return verdict.promise
    },
    lost() {},
  }
  // Onion names through a proxy that hangs up: each failure is the network's until our own is known to have worked.
  const proxy = Number((await serve(t, (socket) => socket.destroy())).split(':')[1])
  const onions = closing.map((_, i) => `${onionHost(`maker ${i}`)}:21`)
  const { monitor, liveness } = start(t, onions, { atOnce: 2, network, socks: { host: '127.0.0.1', port: proxy } })
  await waitUntil('all have been probed', () => waiting + monitor.counts.unjudged >= onions.length)
  verdict.resolve(false)
  await waitUntil('all are stored', () => onions.every((address) => liveness.record(address) !== undefined))
  assert.equal(monitor.counts.failed, 0)
  assert.ok(onions.every((address) => liveness.record(address)!.failures === 0))
})

test('a result that can’t be stored ends the loop, and the probes with it', async (t) => {
  let open = 0
  const mute = await serve(t, (socket) => {
    open++
    socket.resume().on('close', () => open--)
  })
  const closing = await serve(t, (socket) => socket.destroy())
  const { liveness, running } = start(t, [mute, closing])
  liveness.recordProbe = () => {
    throw new Error('the disk is full')
  }
  await assert.rejects(running, /the disk is full/)
  await waitUntil('no connection is left', () => open === 0)
})

test('only this machine is dialled past Tor, and an onion name never without it', () => {
  const socks = { host: '127.0.0.1', port: 9050 }
  assert.equal(routeTo('127.0.0.1', socks), 'direct')
  assert.equal(routeTo(onionHost('x'), socks), socks)
  assert.equal(routeTo(onionHost('x'), undefined), undefined)
})

/**
 * Our own onion address is told whether Tor is there or not, and whether we run or not: it follows from the key. No verb
 * that only reads makes one.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import { onionHostOf } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { decodeOnionKey } from '../../src/tor/key.ts'
import { publicKeyOf } from '../../src/tor/public-key.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { doctor } from '../support/doctor.ts'
import { ask } from '../support/http.ts'

test('before Tor is there the address is known, and after the end of the daemon', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  const [control, socks] = await freePorts(2)
  const tor = ['--control-port', `127.0.0.1:${control}`, '--socks-port', `127.0.0.1:${socks}`]
  await using tracker = await Tracker.start(node, { http: true, nostr: true, args: tor })
  await tracker.said('listening')
  await waitUntil('Tor is missed', () => tracker.status()?.onion.state === 'unreachable')
  const keyFile = join(tracker.dataDir, 'onion.key')
  const key = readFileSync(keyFile, 'utf8').trim()
  const host = onionHostOf(publicKeyOf(decodeOnionKey(key)!))
  const address = `${host}:${tracker.port}`

  const { json: row } = await ask(tracker.httpPort!, '/api/v1/status')
  assert.deepEqual([row.onion.state, row.onion.address, row.address], ['unreachable', address, address])
  assert.equal(row.nostr.url, `ws://${host}`)
  assert.equal((await tracker.ask({ type: 'Ping', address: 'us.onion', port: 1 }, 'Pong')).address, address)

  const flags = ['--network', 'regtest', '--datadir', tracker.dataDir, '--address', `127.0.0.1:${tracker.port}`, ...tor]
  const shown = async () => {
    const text = await runVerb(['status', ...flags])
    const { code, stdout } = await runVerb(['status', '--json', ...flags])
    const { of, findings } = await doctor(flags)
    for (const all of [text.stdout, stdout, JSON.stringify(findings), JSON.stringify(tracker.log)]) {
      assert.ok(!all.includes(key) && !all.includes(key.slice(-40)), 'the key is never shown')
    }
    assert.deepEqual([code, text.code], [0, 0])
    return { text: text.stdout, row: JSON.parse(stdout), onion: of('onion').text }
  }
  const running = await shown()
  assert.equal(running.row.address, address)
  assert.match(running.onion, new RegExp(`onion service is unreachable: .*; its address is ${address}$`))

  assert.equal(await tracker.stop(), 0)
  const stopped = await shown()
  assert.match(stopped.text, new RegExp(`^daemon +not running .*\naddress +${address}$`, 'm'))
  assert.deepEqual([stopped.row.running, stopped.row.address, stopped.row.onion.address], [false, address, address])
  assert.deepEqual([stopped.row.onion.state, stopped.row.onion.detail], ['unreachable', 'the daemon is not running'])
  assert.equal(stopped.onion, `the daemon is not running; its address is ${address}`)

  rmSync(keyFile)
  const without = await shown()
  assert.equal(without.row.address, address, 'it was that, as far as anybody knows')
  assert.equal(without.onion, 'the daemon is not running')
  assert.ok(!existsSync(keyFile), 'who reads makes no key')
})

test('it is the address that Tor publishes, and stays while Tor is away', async () => {
  await using tor = await TorNetwork.start({ clients: 1 })
  const { control, socks, password } = tor.clients[0]!
  {
    using connection = new TorControl({ control, password: new Secret(password) })
    await connection.connect()
    for (let i = 0; i < 20; i++) {
      const { lines } = await connection.must('ADD_ONION NEW:ED25519-V3 Port=80,127.0.0.1:1')
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}=`))!.slice(name.length + 1)
      const expanded = decodeOnionKey(field('PrivateKey'))
      assert.equal(onionHostOf(publicKeyOf(expanded!)), `${field('ServiceID')}.onion`)
    }
  }
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node, {
    args: [
      ...['--control-port', `${control.host}:${control.port}`, '--socks-port', `${socks.host}:${socks.port}`],
      ...['--probe-interval', '10'],
    ],
    env: { FIDELITY_TRACKER_TOR_AUTH_PASSWORD: password },
  })
  await tracker.said('listening')
  const before = await waitUntil('a first status', () => tracker.status()?.onion.address)
  const published = await tracker.said('onion service published')
  assert.equal(published.onionAddress, before)
  await tracker.said('ready')
  const green = await waitUntil('when it was green', () => tracker.status()?.onion.canary?.last_green)
  assert.ok(Math.abs(green - Date.now() / 1000) < 60)
  await tor.kill(0)
  const away = await waitUntil('it is missed', () => {
    const status = tracker.status()
    return status?.onion.state === 'unreachable' && status
  })
  assert.deepEqual([away.address, away.onion.address], [before, before])
  assert.ok(away.onion.canary!.last_green! >= green, 'since when it is not reached')
  const line = await waitUntil('that is a warning', () =>
    tracker.log.find((one) => one.msg === 'not ready' && one.level === 40),
  )
  assert.match(String(line.notReady), /Tor|onion service/)
})

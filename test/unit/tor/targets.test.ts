/** Where the onion service leads to, seen from where Tor runs: this machine, another container, another host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { targetFor, targetWarning } from '../../../src/tor/targets.ts'

const HERE = { control: { host: '127.0.0.1', port: 9051 }, onionTarget: undefined }
const SOCKET = { control: { path: '/run/tor/control' }, onionTarget: undefined }
const THERE = { control: { host: 'tor', port: 9051 }, onionTarget: undefined }
const NAMED = { ...THERE, onionTarget: { host: 'tracker', port: 18080 } }
const LOCAL = { host: '127.0.0.1', port: 8080 }
const WILDCARD = { host: '0.0.0.0', port: 8080 }
const LAN = { host: '10.0.0.5', port: 8080 }

test('the listener itself, unless it listens everywhere or another place is named', () => {
  for (const place of [HERE, SOCKET]) {
    assert.deepEqual(targetFor('address', LOCAL, place, '127.0.0.1'), LOCAL)
    assert.deepEqual(targetFor('address', WILDCARD, place, '10.0.0.5'), LOCAL)
    assert.deepEqual(targetFor('address', { host: '::', port: 8080 }, place), { host: '::1', port: 8080 })
  }
  assert.deepEqual(targetFor('address', LAN, THERE, '172.17.0.3'), LAN)
  assert.deepEqual(targetFor('address', WILDCARD, THERE, '172.17.0.3'), { host: '172.17.0.3', port: 8080 })
  assert.deepEqual(targetFor('nostr', { ...WILDCARD, port: 8082 }, THERE, 'fd00::3'), { host: 'fd00::3', port: 8082 })
  assert.deepEqual(targetFor('address', WILDCARD, NAMED, '172.17.0.3'), NAMED.onionTarget)
  assert.deepEqual(targetFor('nostr', { ...LOCAL, port: 8082 }, NAMED), { host: 'tracker', port: 8082 })
})

test('a warning where Tor is elsewhere and is led to its own machine', () => {
  for (const place of [HERE, SOCKET, NAMED]) assert.equal(targetWarning(LOCAL, place), undefined)
  assert.equal(targetWarning(WILDCARD, THERE), undefined)
  assert.equal(targetWarning(LAN, THERE), undefined)
  const { text, fix } = targetWarning(LOCAL, THERE)!
  assert.match(text, /leads to 127\.0\.0\.1:8080, which Tor takes for its own machine.*tor:9051 seems to be of another/)
  assert.match(fix, /--address .*:8080.*--onion-target/)
  assert.ok(targetWarning(LOCAL, { ...HERE, control: { host: '127.0.0.2', port: 9051 } }), 'a tunnel’s end')
  assert.ok(targetWarning(LAN, { ...THERE, onionTarget: LOCAL }))
})

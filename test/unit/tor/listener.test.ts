/** Who listens, read from the kernel's tables. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listenersIn } from '../../../src/tor/listener.ts'

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const row = (local: string, state: string, uid: number) =>
  `   1: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 14201407 1 00000000ee624d8c 100 0 0 10 0`

test('of a TCP table: whoever listens at that address and port, or at every address; connections are none', () => {
  const table = [
    HEAD,
    row('0100007F:235B', '0A', 108),
    row('0100007F:235B', '01', 1000),
    row('0200007F:235B', '0A', 1002),
    row('0100007F:235C', '0A', 1003),
    row('00000000:235C', '0A', 0),
    '',
  ].join('\n')
  assert.deepEqual(listenersIn(table, { host: '127.0.0.1', port: 9051 }), [108])
  assert.deepEqual(listenersIn(table, { host: 'localhost', port: 9051 }), [108])
  assert.deepEqual(listenersIn(table, { host: '127.0.0.2', port: 9051 }), [1002])
  assert.deepEqual(listenersIn(table, { host: '127.0.0.1', port: 9052 }), [1003, 0])
  assert.deepEqual(listenersIn(table, { host: '127.0.0.1', port: 9053 }), [])
  assert.deepEqual(listenersIn('', { host: '127.0.0.1', port: 9051 }), [])
})

test('of a TCP6 table', () => {
  const table = [
    HEAD,
    row('00000000000000000000000001000000:235B', '0A', 1001),
    row('00000000000000000000000000000000:235C', '0A', 1002),
  ].join('\n')
  assert.deepEqual(listenersIn(table, { host: '::1', port: 9051 }), [1001])
  assert.deepEqual(listenersIn(table, { host: 'localhost', port: 9051 }), [1001])
  assert.deepEqual(listenersIn(table, { host: '127.0.0.1', port: 9051 }), [])
  assert.deepEqual(listenersIn(table, { host: '127.0.0.1', port: 9052 }), [1002])
})

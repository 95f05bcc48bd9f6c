import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertAllowed, HttpFault } from '../../../src/http/guard.ts'

const listen = { host: '127.0.0.1', port: 8081 }
function code(host: string | undefined, at = listen, hosts: string[] = []): string {
  try {
    assertAllowed('GET', { host }, at, hosts)
    return 'allowed'
  } catch (error) {
    assert.ok(error instanceof HttpFault)
    return error.code
  }
}

test('only names of this machine, the address listened on, and names the operator gave', () => {
  for (const host of ['localhost', 'LocalHost:1', '127.0.0.1', '127.9.9.9:8081', '[::1]', '[::1]:8081']) {
    assert.equal(code(host), 'allowed', host)
  }
  for (const host of [
    undefined,
    '',
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.',
    '0.0.0.0',
    '::2',
    '[::]:8081',
  ]) {
    assert.equal(code(host), 'misdirected', host)
  }
  const lan = { host: '192.168.1.5', port: 8081 }
  assert.equal(code('192.168.1.5:8081', lan, ['box.lan']), 'allowed')
  assert.equal(code('box.lan', lan, ['box.lan']), 'allowed')
  assert.equal(code('sub.box.lan', lan, ['box.lan']), 'misdirected')
  assert.equal(code('[fd00::1]:80', listen, ['[fd00::1]']), 'allowed')
})

test('a wildcard address is no name', () => {
  assert.equal(code('0.0.0.0:8081', { host: '0.0.0.0', port: 8081 }, ['box.lan']), 'misdirected')
  assert.equal(code('[::]:8081', { host: '::', port: 8081 }, ['box.lan']), 'misdirected')
})

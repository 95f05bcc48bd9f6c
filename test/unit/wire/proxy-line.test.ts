/** Tor's line before a stream, as tor(1) and HAProxy's document describe it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeFrame } from '../../../src/wire/frame.ts'
import { readProxyLine } from '../../../src/wire/proxy-line.ts'

const LINE = 'PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 65535 42\r\n'
const read = (text: string) => readProxyLine(Buffer.from(text, 'latin1'))

test('the source address stands for the circuit', () => {
  assert.deepEqual(read(`${LINE}rest`), { kind: 'line', bytes: LINE.length, circuit: 'fc00:dead:beef:4dad::0:29' })
  assert.deepEqual(read('PROXY TCP4 255.255.255.255 1.2.3.4 65535 65535\r\n'), {
    kind: 'line',
    bytes: 48,
    circuit: '255.255.255.255',
  })
  assert.deepEqual(read('PROXY UNKNOWN\r\n'), { kind: 'line', bytes: 15 })
  assert.deepEqual(read('PROXY UNKNOWN ffff::1 ::1 1 2\r\n'), { kind: 'line', bytes: 31 })
})

test('cut at every byte it is partial, and never taken for anything else', () => {
  for (let at = 0; at < LINE.length; at++) {
    assert.deepEqual(read(LINE.slice(0, at)), { kind: 'partial' }, `${at} bytes`)
  }
})

test('what begins as one and is none is broken', () => {
  for (const text of [
    `PROXY ${'x'.repeat(101)}`,
    'PROXY TCP6\r\n',
    'PROXY TCP6 fc00::1 ::1 1\r\n',
    'PROXY TCP6 fc00::1 ::1 1 2 3\r\n',
    'PROXY TCP6 <script> ::1 1 2\r\n',
    'PROXY TCP9 fc00::1 ::1 1 2\r\n',
    'PROXY \r\n',
  ]) {
    assert.equal(read(text).kind, 'broken', text)
  }
  assert.equal(read(`PROXY ${'x'.repeat(100)}`).kind, 'partial')
})

test('a frame is none, whatever its length', () => {
  for (const bytes of [0, 1, 3, 300, 65_536]) {
    assert.equal(readProxyLine(encodeFrame(Buffer.alloc(bytes, 'P'))).kind, 'none')
  }
  assert.equal(readProxyLine(Buffer.alloc(1)).kind, 'none')
})

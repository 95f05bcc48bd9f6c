/** Answers as they come: in one piece, cut anywhere, byte by byte. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANSWER_LIMITS, AnswerReader } from '../../../src/chain/http-answer.ts'
import { Slabs } from '../../../src/chain/slabs.ts'

/** What was made of an answer whose bytes came in these pieces, and then the connection's end. */
function readOf(pieces: readonly Buffer[], bytesMax = 1_000_000) {
  const reader = new AnswerReader(Buffer.alloc(ANSWER_LIMITS.chunkBytes), new Slabs(), bytesMax)
  let rest = Buffer.concat([])
  let isWhole = false
  for (const piece of pieces) {
    rest = Buffer.concat([rest, piece])
    while (rest.length > 0 && !isWhole) {
      const room = reader.room()
      assert.ok(room.length > 0, 'there is room for the next bytes')
      const count = rest.copy(room)
      rest = rest.subarray(count)
      isWhole = reader.took(count)
    }
  }
  if (!isWhole && !reader.endsHere) return undefined
  const { status, reason, body } = reader.answer()
  return { status, reason, body: body.toString('latin1'), isKept: isWhole && reader.isKept && rest.length === 0 }
}

const bytes = (text: string) => Buffer.from(text, 'latin1')
const inTwo = (whole: Buffer, at: number) => [whole.subarray(0, at), whole.subarray(at)]
const oneByOne = (whole: Buffer) => Array.from(whole, (byte) => Buffer.of(byte))

const LONG = 'x'.repeat(200_000)
/** Of each kind: what comes, and what is made of it: status, body, and whether the connection serves on. */
const ANSWERS: Record<string, [text: string, status: number, body: string, isKept: boolean]> = {
  'a length': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, 'hello', true],
  'names in odd case, odd spaces': [
    'HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh: \t 5 \t\r\nX:\r\n\r\nhello',
    200,
    'hello',
    true,
  ],
  'the same length twice': ['HTTP/1.1 200\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nab', 200, 'ab', true],
  nothing: ['HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n', 302, '', true],
  'no content': ['HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', 204, '', true],
  parts: [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2;a="b"\r\nlo\r\n0\r\n\r\n',
    ...[200, 'hello', true],
  ] as [string, number, string, boolean],
  'parts, and fields after them': [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0A\r\n0123456789\r\n00\r\nX: y\r\nZ: \r\n\r\n',
    ...[200, '0123456789', true],
  ] as [string, number, string, boolean],
  'answers before the one': [
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 503 Busy here\r\nContent-Length: 2\r\n\r\nno',
    ...[503, 'no', true],
  ] as [string, number, string, boolean],
  'no length: to the end': ['HTTP/1.1 200 OK\r\n\r\nall of it', 200, 'all of it', false],
  'the last on its connection': [
    'HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na',
    200,
    'a',
    false,
  ],
  'version 1.0': ['HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', 200, 'a', false],
  'version 1.0, kept': ['HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na', 200, 'a', true],
  'bytes after the body': ['HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n', 200, 'a', false],
  'bytes after nothing': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nb', 200, '', false],
  'bytes after parts': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP',
    200,
    'a',
    false,
  ],
}

for (const [name, [text, status, body, isKept]] of Object.entries(ANSWERS)) {
  test(`${name}: the same answer wherever it is cut`, () => {
    const whole = bytes(text)
    const expected = { status, body }
    const made = (pieces: readonly Buffer[]) => {
      const answer = readOf(pieces)
      assert.equal(answer?.isKept, isKept)
      return { status: answer?.status, body: answer?.body }
    }
    assert.deepEqual(made([whole]), expected)
    assert.deepEqual(made(oneByOne(whole)), expected)
    for (let at = 1; at < whole.length; at++) assert.deepEqual(made(inTwo(whole, at)), expected, `cut at ${at}`)
  })
}

test('a body of many reads, with its length told, in parts, and to the end', () => {
  const parts = `1\r\na\r\n${LONG.length.toString(16)}\r\n${LONG}\r\n0\r\n\r\n`
  for (const [text, body] of [
    [`HTTP/1.1 200 OK\r\nContent-Length: ${LONG.length}\r\n\r\n${LONG}`, LONG],
    [`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${parts}`, `a${LONG}`],
    [`HTTP/1.1 200 OK\r\n\r\n${LONG}`, LONG],
  ]) {
    const whole = bytes(text!)
    for (const at of [1, 30, 19_000, 65_536, 131_072, whole.length - 1]) {
      assert.equal(readOf(inTwo(whole, at))?.body, body)
    }
  }
})

test('an answer that ends anywhere before its end is none', () => {
  for (const [name, [text, , body, isKept]] of Object.entries(ANSWERS)) {
    if (!isKept && !/Connection|1\.0/.test(text)) continue // what comes after its end, or has none
    for (let at = 0; at < text.length; at++)
      assert.equal(readOf([bytes(text.slice(0, at))]), undefined, `${name}: ${body}`)
  }
})

test('what is no HTTP is refused as soon as it is seen', () => {
  const ok = 'HTTP/1.1 200 OK\r\n'
  for (const text of [
    '<html>\r\n\r\n',
    '\r\n\r\n',
    'HTTP/2 200\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    `${ok}no colon\r\n\r\n`,
    `${ok}name : value\r\n\r\n`,
    `${ok}a: b\r\n folded\r\n\r\n`,
    `${ok}content-length: -1\r\n\r\n`,
    `${ok}content-length: 0x10\r\n\r\n`,
    `${ok}content-length: 1e3\r\n\r\n`,
    `${ok}content-length: 5, 6\r\n\r\n`,
    `${ok}content-length:\r\n\r\n`,
    `${ok}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`,
    `${ok}transfer-encoding: gzip, chunked\r\n\r\n`,
    ...['x\r\n', '-1\r\n', '1\n', '1\r\nab', '1\r\na\n', '123456789\r\n', `1;${'x'.repeat(2_000)}`].map(
      (part) => `${ok}transfer-encoding: chunked\r\n\r\n${part}\r\n`,
    ),
    `${ok}transfer-encoding: chunked\r\n\r\n0\r\n${'a: b\r\n'.repeat(100)}`,
  ]) {
    assert.throws(() => readOf([bytes(text)]), /is no HTTP/, JSON.stringify(text.slice(0, 60)))
  }
  assert.throws(() => readOf([bytes('HTTP/1.1 100 Continue\r\n\r\n'.repeat(100))]), /status 1xx/)
  assert.throws(() => readOf([bytes(`${ok}a: ${'b'.repeat(100_000)}`)]), /no end within 65536 bytes/)
})

test('what is too long is given up when it is announced, or has come; it is never more than that', () => {
  const ok = 'HTTP/1.1 200 OK\r\n'
  for (const [text, fault] of [
    [`${ok}content-length: 11\r\n\r\n`, /11 bytes or more, 10 at the most/],
    [`${ok}content-length: 999999999999999\r\n\r\n`, /999999999999999 bytes or more/],
    [`${ok}transfer-encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n01234\r\n`, /11 bytes or more, 10/],
    [`${ok}\r\n01234567890`, /11 bytes or more, 10/],
  ] as const) {
    assert.throws(() => readOf(oneByOne(bytes(text)), 10), fault)
  }
  assert.equal(readOf([bytes(`${ok}content-length: 10\r\n\r\n0123456789`)], 10)?.body, '0123456789')
})

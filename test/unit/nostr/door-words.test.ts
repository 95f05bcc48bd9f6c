/** Messages of clients, filters, and frames: what is read, and what is said of what can't be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseClientMessage } from '../../../src/nostr/door-messages.ts'
import { isMatch, type NostrFilter, readFilters } from '../../../src/nostr/filters.ts'
import { FrameProgress } from '../../../src/nostr/frame-progress.ts'
import { textFrames } from '../../../src/nostr/text-frames.ts'

test('a subscription id is told again as it was written', () => {
  const tokenOf = (text: string) => {
    const message = parseClientMessage(text)
    assert.ok('token' in message, text)
    return message.token
  }
  for (const token of ['"x"', '"\\u00e9"', '"é"', '"\\\\"', '"\\"],{"', '"\\ud800"', `"${'x'.repeat(256)}"`]) {
    assert.equal(tokenOf(`["REQ",${token},{}]`), token)
    assert.equal(tokenOf(` [ "REQ" ,\n${token} , {}]`), token)
  }
  assert.equal(tokenOf('["\\u0052EQ","x\\/y",{}]'), '"x/y"', 'the type written oddly: by what it means')
  const both = parseClientMessage('["REQ","a",{"kinds":[1]},{"limit":1}]')
  assert.deepEqual(both, { type: 'REQ', id: 'a', token: '"a"', filters: [{ kinds: [1] }, { limit: 1 }] })
})

test('what is no message is told in words', () => {
  const faults: [string, RegExp][] = [
    ['', /^no JSON$/],
    ['[', /^no JSON$/],
    ['{"a":1}', /array/],
    ['"REQ"', /array/],
    ['[]', /EVENT, REQ and CLOSE/],
    ['["EOSE","x"]', /EVENT, REQ and CLOSE/],
    ['["REQ",5,{}]', /subscription id/],
    ['["CLOSE"]', /subscription id/],
    [`${'['.repeat(30_000)}${']'.repeat(30_000)}`, /EVENT, REQ and CLOSE/],
  ]
  for (const [text, words] of faults) {
    const message = parseClientMessage(text)
    assert.equal(message.type, 'unknown', text)
    assert.ok('fault' in message)
    assert.match(message.fault, words)
  }
})

const EVENT = {
  id: 'ab'.repeat(32),
  pubkey: 'cd'.repeat(32),
  created_at: 1_000,
  kind: 37_780,
  tags: [
    ['d', 'fidelity:x:0'],
    ['expiration', '5'],
  ],
  content: '',
  sig: '',
}

function read(...raw: unknown[]): readonly NostrFilter[] {
  const filters = readFilters(raw)
  assert.ok(filters.ok, JSON.stringify(raw))
  return filters.filters
}

test('filters match as NIP-01 says, bounds of 0 included', () => {
  const matches = (raw: object) => isMatch(read(raw)[0]!, EVENT)
  for (const raw of [
    {},
    { ids: [EVENT.id, 'ef'.repeat(32)] },
    { authors: [EVENT.pubkey] },
    { kinds: [1, 37_780] },
    { since: 0 },
    { since: 1_000, until: 1_000 },
    { '#d': ['x', 'fidelity:x:0'] },
    { limit: 0 },
    { search: 'x', '#dd': 5, d: [5], ids_: 1 },
  ])
    assert.ok(matches(raw), JSON.stringify(raw))
  for (const raw of [
    { ids: [] },
    { ids: ['ef'.repeat(32)] },
    { kinds: [] },
    { kinds: [37_780], authors: [EVENT.id] },
    { since: 1_001 },
    { until: 999 },
    { until: 0 },
    { '#d': ['fidelity:x'] },
    { '#d': [] },
    { '#e': ['fidelity:x:0'] },
    { '#D': ['fidelity:x:0'] },
  ])
    assert.ok(!matches(raw), JSON.stringify(raw))
})

test('a filter of another shape is none, where a library would take it for all', () => {
  const faults: [unknown[], RegExp][] = [
    [[], /a filter was expected/],
    [[5], /^filter 1: an object: /],
    [[null], /^filter 1: /],
    [[[]], /^filter 1: /],
    [[{}, { kinds: 5 }], /^filter 2: kinds: /],
    [[{ kinds: ['1'] }], /^filter 1: kinds\.0: /],
    [[{ since: 'x' }], /^filter 1: since: /],
    [[{ since: 1.5 }], /^filter 1: since: /],
    [[{ until: null }], /^filter 1: until: /],
    [[{ limit: -1 }], /^filter 1: limit: /],
    [[{ ids: ['ab'] }], /64 lower-case hex digits/],
    [[{ authors: ['AB'.repeat(32)] }], /64 lower-case hex digits/],
    [[{ '#d': 5 }], /^filter 1: #d: /],
    [[{ '#d': [5] }], /^filter 1: #d: /],
    [Array(11).fill({}), /^11 filters, 10 are allowed$/],
    [[{ kinds: Array(600).fill(1) }, { '#d': Array(600).fill('') }], /more than 1000 values/],
  ]
  for (const [raw, words] of faults) {
    const filters = readFilters(raw)
    assert.ok(!filters.ok, JSON.stringify(raw).slice(0, 80))
    assert.match(filters.fault, words)
  }
  assert.deepEqual(read(JSON.parse('{"__proto__":{"kinds":[1]},"constructor":5}')), [{}])
})

test('frames as RFC 6455 has them, of every size of length', () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    const [text, frames] = ['x'.repeat(length), textFrames(['x'.repeat(length), 'é'])]
    const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
    assert.equal(frames[0], 0x81)
    assert.equal(frames[1], length < 126 ? length : length < 65_536 ? 126 : 127)
    assert.equal(frames.toString('utf8', head, head + length), text)
    assert.deepEqual(frames.subarray(head + length), Buffer.from([0x81, 2, 0xc3, 0xa9]))
  }
  assert.equal(textFrames([]).length, 0)
})

test('a message in the making is known at every byte, and its end', () => {
  const masked = (first: number, length: number, head: Buffer) =>
    Buffer.concat([Buffer.of(first), head, Buffer.alloc(4), Buffer.alloc(length)])
  const short = (first: number, length: number) => masked(first, length, Buffer.of(0x80 | length))
  const middle = masked(0x81, 300, Buffer.of(0xfe, 1, 44))
  const long = masked(0x81, 65_536, Buffer.of(0xff, 0, 0, 0, 0, 0, 1, 0, 0))
  for (const bytes of [short(0x81, 0), short(0x81, 5), middle, long, short(0x89, 3), Buffer.of(0x81, 0x02, 1, 2)]) {
    const progress = new FrameProgress()
    assert.ok(!progress.isMidMessage)
    for (let at = 0; at < bytes.length - 1; at++) {
      progress.push(bytes.subarray(at, at + 1))
      assert.ok(progress.isMidMessage, `${at} of ${bytes.length}`)
    }
    progress.push(bytes.subarray(-1))
    assert.ok(!progress.isMidMessage)
    progress.push(Buffer.concat([bytes, bytes, bytes.subarray(0, 1)]))
    assert.ok(progress.isMidMessage)
  }
  const fragmented = new FrameProgress()
  for (const [bytes, isMid] of [
    [short(0x01, 5), true],
    [short(0x89, 5), true],
    [short(0x00, 5), true],
    [short(0x80, 5), false],
  ] as const) {
    fragmented.push(bytes)
    assert.equal(fragmented.isMidMessage, isMid)
  }
})

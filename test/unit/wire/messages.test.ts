/** Every message against published bytes (test/vectors/wire-v1.json) and against what serde_cbor 0.11 accepts. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { asBlockHash, asTxid, fromInternal, type Txid } from '../../../src/chain/types.ts'
import { askForEffort } from '../../../src/watch/effort.ts'
import { encode } from '../../../src/wire/cbor.ts'
import { encodeFrame, FrameReader } from '../../../src/wire/frame.ts'
import {
  type BondFields,
  encodeError,
  encodeReply,
  encodeRequest,
  NotAReply,
  type ParsedRequest,
  parseReply,
  parseRequest,
  type Reply,
  type Request,
} from '../../../src/wire/messages.ts'
import { EFFORTS, hex, WIRE_V1, WIRE_V2, wireVector } from '../../support/vectors.ts'

const TXID = asTxid('00112233445566778899aabbccddeeff0123456789abcdef0011223344556677')
const ONION = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd.onion'

function requestOf(payload: Buffer): Request {
  const parsed = parseRequest(payload)
  assert(parsed.ok, JSON.stringify(parsed))
  return parsed.request
}

function refusalOf(payload: Buffer): Extract<ParsedRequest, { ok: false }> {
  const parsed = parseRequest(payload)
  assert(!parsed.ok, JSON.stringify(parsed))
  return parsed
}

// ---- vectors ---------------------------------------------------------------------------------------------------------

const REQUEST_VECTORS: Record<string, Request> = {
  get: { type: 'Get' },
  pong: { type: 'Pong', address: '127.0.0.1:6102' },
  pong_onion: { type: 'Pong', address: `${ONION}:6102` },
  ping: { type: 'Ping', address: '127.0.0.1:8080', port: 8080 },
  ping_onion: { type: 'Ping', address: ONION, port: 8080 },
  watch_vout0: { type: 'Watch', outpoint: { txid: TXID, vout: 0 } },
  watch_vout1: { type: 'Watch', outpoint: { txid: TXID, vout: 1 } },
  watch_vout300: { type: 'Watch', outpoint: { txid: TXID, vout: 300 } },
}

for (const [name, request] of Object.entries(REQUEST_VECTORS)) {
  test(`the request ${name} is the published bytes, both ways`, () => {
    const { prefix, cbor, frame } = wireVector(name)
    const payload = encodeRequest(request)
    assert.equal(payload.toString('hex'), cbor)
    const prefixByte = prefix === null ? undefined : Number.parseInt(prefix, 16)
    assert.equal(encodeFrame(payload, prefixByte).toString('hex'), frame)
    const reader = new FrameReader(65_536)
    reader.push(hex(frame))
    assert.deepEqual(requestOf(reader.next()!), request, 'with its prefix, if it has one')
    assert.deepEqual(requestOf(hex(cbor)), request)
  })
}

const REPLY_VECTORS: Record<string, Reply> = {
  address_0: { type: 'Address', addresses: [] },
  address_1: { type: 'Address', addresses: ['127.0.0.1:6102'] },
  address_2: { type: 'Address', addresses: ['127.0.0.1:6102', '127.0.0.1:16102'] },
  watch_response_0: { type: 'WatchResponse', transactions: [] },
  pong: { type: 'Pong', address: '127.0.0.1:6102' },
  pong_onion: { type: 'Pong', address: `${ONION}:6102` },
}

for (const [name, reply] of Object.entries(REPLY_VECTORS)) {
  test(`the reply ${name} is the published bytes, both ways`, () => {
    const { cbor, frame } = wireVector(name)
    assert.equal(encodeReply(reply).toString('hex'), cbor)
    assert.equal(encodeFrame(encodeReply(reply)).toString('hex'), frame)
    assert.deepEqual(parseReply(hex(cbor)), reply)
  })
}

test("the Rust tracker's WatchResponse, which has two keys, is read", () => {
  const read = (name: string) => {
    const reply = parseReply(hex(wireVector(name).cbor))
    assert.equal(reply.type, 'WatchResponse')
    return reply.type === 'WatchResponse' ? reply.transactions : []
  }
  const [tx, ...none] = read('watch_response_1')
  assert.deepEqual(none, [])
  assert.deepEqual(tx, { txid: TXID, seenAtMs: Date.UTC(2025, 7, 14, 8, 20, 43), rawTx: Buffer.alloc(0) })
  const [withoutTime] = read('watch_response_1_min')
  assert.equal(withoutTime?.seenAtMs, Date.UTC(-262143, 0, 1))
})

test('our WatchResponse has all three keys in order, and begins like the published one', () => {
  const seenAtMs = Date.UTC(2025, 7, 14, 8, 20, 43)
  const reply: Reply = { type: 'WatchResponse', transactions: [{ txid: TXID, seenAtMs, rawTx: hex('0200ff') }] }
  const ours = encodeReply(reply)
  const published = wireVector('watch_response_1').cbor
  assert.equal(ours.toString('hex'), `${published.replace('81a264', '81a364')}65726177747866303230306666`)
  assert.deepEqual(parseReply(ours), reply)
})

for (const name of ['post_as_tracker_expects', 'post_as_coinswap_0_1_3_would_send']) {
  test(`${name}: a hash of either length is read, and left to the verdict`, () => {
    const parsed = parseRequest(hex(wireVector(name).cbor))
    assert(parsed.ok && parsed.request.type === 'Post')
    const { url, proof } = parsed.request.metadata
    assert.equal(url, '127.0.0.1:6102')
    assert.equal(proof.certHash.length, name === 'post_as_tracker_expects' ? 20 : 32)
    assert.equal(proof.certExpiry, 5)
  })
}

// ---- bonds -----------------------------------------------------------------------------------------------------------

const AFTER = { txid: TXID, vout: 0 }
const BONDS_REQUESTS: [Request, string][] = [
  [{ type: 'Bonds' }, 'a1 65426f6e6473 a0'],
  [{ type: 'Bonds', limit: 2 }, 'a1 65426f6e6473 a1 656c696d6974 02'],
  [
    { type: 'Bonds', after: AFTER, limit: 1_000, minValue: 1, all: true },
    'a165426f6e6473a4656166746572a2647478696458207766554433221100efcdab8967452301ffeeddccbbaa9988776655443322110064766f757400656c696d69741903e8696d696e5f76616c75650163616c6cf5',
  ],
  [
    { type: 'BondProof', outpoint: AFTER },
    'a169426f6e6450726f6f66a1686f7574706f696e74a2647478696458207766554433221100efcdab8967452301ffeeddccbbaa9988776655443322110064766f757400',
  ],
]

test('requests for bonds are the bytes of docs/protocol.md, both ways', () => {
  for (const [request, bytes] of BONDS_REQUESTS) {
    assert.equal(encodeRequest(request).toString('hex'), bytes.replaceAll(' ', ''))
    assert.deepEqual(requestOf(hex(bytes)), request)
  }
  assert.deepEqual(requestOf(encode({ Bonds: { after: null, limit: null, all: false, more: 1 } })), {
    type: 'Bonds',
    all: false,
  })
  assert.match(refusalOf(encode({ Bonds: { limit: -1 } })).message, /^Bonds\.limit: expected a whole number/)
  assert.match(refusalOf(encode({ Bonds: { after: 'x' } })).message, /^Bonds\.after: expected a map with the fields/)
  assert.equal(refusalOf(encode('Bonds')).closes, false)
})

const A_BOND: BondFields = {
  outpoint: AFTER,
  address: `${ONION}:21`,
  amountSats: 50_000,
  confHeight: 900_000,
  blockHash: asBlockHash(`${'00'.repeat(9)}${'ab'.repeat(23)}`),
  blockTimeS: 1_750_000_000,
  lockHeight: 915_000,
  value: 1_000_000,
  format: 'D',
  state: 'live',
  proven: true,
  reach: 'up',
  lastUpS: 1_750_009_000,
  probes: 150,
  uptimePpm: 993_333,
}

test('a page of bonds has its fields in order, hashes in internal order, and only the fields that are known', () => {
  const { blockHash } = A_BOND
  const reply: Reply = {
    type: 'Bonds',
    height: 900_100,
    blockHash,
    digest: Buffer.alloc(32, 0xdd),
    total: 2,
    bonds: [A_BOND],
    next: AFTER,
  }
  const bytes = encodeReply(reply)
  assert.equal(
    bytes.toString('hex'),
    'a165426f6e6473a6666865696768741a000dbc046a626c6f636b5f686173685820ababababababababababababababababababababababab000000000000000000666469676573745820dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd65746f74616c0265626f6e647381af686f7574706f696e74a2647478696458207766554433221100efcdab8967452301ffeeddccbbaa9988776655443322110064766f757400676164647265737378413474626e69706a7a6b716e7868686b64646f6966676c33727579726278336e7274656f6e626c6370743470366d356d3332347678343679642e6f6e696f6e3a323166616d6f756e7419c3506b636f6e665f6865696768741a000dbba06a626c6f636b5f686173685820ababababababababababababababababababababababab0000000000000000006a626c6f636b5f74696d651a684ee1806b6c6f636b5f6865696768741a000df6386576616c75651a000f424066666f726d61746144657374617465646c6976656670726f76656ef5657265616368627570676c6173745f75701a684f04a86670726f62657318966a757074696d655f70706d1a000f2835646e657874a2647478696458207766554433221100efcdab8967452301ffeeddccbbaa9988776655443322110064766f757400',
  )
  assert.deepEqual(parseReply(bytes), reply)
  assert.deepEqual(encodeReply(reply), bytes, 'the same object again')
  const { lockHeight: _lock, lastUpS: _up, uptimePpm: _uptime, ...rest } = A_BOND
  const bare: BondFields = { ...rest, state: 'refused', refusal: 'too-small', reach: 'unknown', proven: false }
  const other: Reply = { type: 'Bonds', height: 1, blockHash, digest: Buffer.alloc(32), total: 1, bonds: [bare] }
  assert.deepEqual(parseReply(encodeReply(other)), other)
})

test('a proof of a bond is four fields of bytes and a height', () => {
  const reply: Reply = {
    type: 'BondProof',
    tx: hex('0200'),
    header: Buffer.alloc(80, 1),
    height: 900_000,
    merkle: hex('0102'),
  }
  const bytes = encodeReply(reply)
  const header = `58 50 ${'01'.repeat(80)}`
  assert.deepEqual(
    bytes,
    hex(
      `a1 69426f6e6450726f6f66 a4 627478 420200 66686561646572 ${header} 66686569676874 1a000dbba0 666d65726b6c65 420102`,
    ),
  )
  assert.deepEqual(parseReply(bytes), reply)
})

// ---- times -----------------------------------------------------------------------------------------------------------

test('seen_at is UTC without a zone, with a fraction only when there is one', () => {
  const seenAt = (seenAtMs: number) => {
    const bytes = encodeReply({ type: 'WatchResponse', transactions: [{ txid: TXID, seenAtMs, rawTx: hex('') }] })
    return /seen_at.(.*)erawtx/.exec(bytes.toString('latin1'))?.[1]
  }
  assert.equal(seenAt(0), '1970-01-01T00:00:00')
  assert.equal(seenAt(1_755_159_643_000), '2025-08-14T08:20:43')
  assert.equal(seenAt(1_755_159_643_120), '2025-08-14T08:20:43.120')
  assert.equal(seenAt(1_755_159_643_007), '2025-08-14T08:20:43.007')
})

test('seen_at is read as chrono reads it', () => {
  const read = (seen_at: string) => {
    const reply = parseReply(encode({ WatchResponse: { mempool_tx: [{ txid: TXID, seen_at }] } }))
    return reply.type === 'WatchResponse' ? reply.transactions[0]?.seenAtMs : undefined
  }
  const secondMs = Date.UTC(2025, 7, 14, 8, 20, 43)
  for (const [text, unixMs] of [
    ['2025-08-14T08:20:43', secondMs],
    ['2025-08-14T08:20:43.1', secondMs + 100],
    ['2025-08-14T08:20:43.123456789', secondMs + 123],
    ['2025-08-14T08:20:60', Date.UTC(2025, 7, 14, 8, 20, 59)],
    ['+12345-01-01T00:00:00', Date.UTC(12345, 0, 1)],
    ['-0001-01-01T00:00:00', Date.UTC(-1, 0, 1)],
  ] as const) {
    assert.equal(read(text), unixMs, text)
  }
  for (const text of [
    '2025-08-14T08:20:43Z',
    '2025-08-14T08:20:43+00:00',
    '2025-08-14 08:20:43',
    '2025-08-14T08:20',
    '2025-08-14T08:20:43.',
    '2025-13-14T08:20:43',
    '',
  ]) {
    assert.throws(() => read(text), NotAReply, text)
  }
})

// ---- what is accepted ------------------------------------------------------------------------------------------------

const GET: Request = { type: 'Get' }
const WATCH: Request = { type: 'Watch', outpoint: { txid: TXID, vout: 5 } }
const PING: Request = { type: 'Ping', address: 'a', port: 8080 }
const BYTES = `5820${Buffer.from(TXID, 'hex').reverse().toString('hex')}`
const OUTPOINT = `a2 6474786964 ${BYTES} 64766f7574 05`
const KEY = '686f7574706f696e74'

const ACCEPTED: [string, string, Request][] = [
  ['a unit variant as text', '63476574', GET],
  ['a unit variant with null', 'a163476574f6', GET],
  ['a unit variant with undefined', 'a163476574f7', GET],
  ['a unit variant as a byte string', '43476574', GET],
  ['a unit variant as an indefinite text', '7f 6147 626574 ff', GET],
  ['a unit variant as an indefinite byte string', '5f 4147 426574 ff', GET],
  ['a unit variant as its index', '01', GET],
  ['a unit variant as its index in a longer head', '1801', GET],
  ['a unit variant behind a tag', 'd9d9f7 63476574', GET],
  ['a unit variant with a longer head', '7803476574', GET],
  ['a unit variant as the old array of name and null', '82 63476574 f6', GET],
  ['prefix 01', '01 63476574', GET],
  ['prefix 02', '02 63476574', GET],
  ['prefix 01 before the index', '0101', GET],
  ['prefix 02 before the index', '0201', GET],
  ['Status too', '66537461747573', { type: 'Status' }],
  ['a struct', `a1 655761746368 a1 ${KEY} ${OUTPOINT}`, WATCH],
  ['a variant name as bytes', `a1 455761746368 a1 ${KEY} ${OUTPOINT}`, WATCH],
  ['a variant name as its index', `a1 03 a1 ${KEY} ${OUTPOINT}`, WATCH],
  ['the old array of name and fields', `82 655761746368 a1 ${KEY} ${OUTPOINT}`, WATCH],
  ['keys in another order', `a1 655761746368 a1 ${KEY} a2 64766f7574 05 6474786964 ${BYTES}`, WATCH],
  ['unknown fields', `a1 655761746368 a2 6178 a1 01 82 02 f4 ${KEY} ${OUTPOINT}`, WATCH],
  ['unknown fields twice', `a1 655761746368 a3 6178 01 6178 02 ${KEY} ${OUTPOINT}`, WATCH],
  ['an indefinite struct map', `a1 655761746368 bf ${KEY} ${OUTPOINT} ff`, WATCH],
  ['a struct map in a longer head', `a1 655761746368 b801 ${KEY} ${OUTPOINT}`, WATCH],
  ['structs as arrays', `a1 655761746368 81 82 ${BYTES} 05`, WATCH],
  ['structs as indefinite arrays', `a1 655761746368 9f 9f ${BYTES} 05 ff ff`, WATCH],
  ['field names as bytes', `a1 655761746368 a1 48${KEY.slice(2)} ${OUTPOINT}`, WATCH],
  ['field names as indices', `a1 655761746368 a1 00 a2 00 ${BYTES} 01 05`, WATCH],
  ['tags inside', `a1 655761746368 a1 ${KEY} c1 a2 6474786964 c2 ${BYTES} 64766f7574 c3 05`, WATCH],
  ['an indefinite hash', `a1 655761746368 81 82 5f ${BYTES} ff 05`, WATCH],
  ['a non-minimal integer', `a1 655761746368 81 82 ${BYTES} 1b0000000000000005`, WATCH],
  ['Ping as an array', 'a1 6450696e67 82 6161 191f90', PING],
]

for (const [what, bytes, request] of ACCEPTED) {
  test(`accepted: ${what}`, () => assert.deepEqual(requestOf(hex(bytes)), request))
}

const NO_REQUEST: [string, string][] = [
  ['an enum map whose head is b801', 'b801 63476574 f6'],
  ['an enum map in an indefinite head', 'bf 63476574 f6 ff'],
  ['an enum map behind a tag', 'c0 a1 63476574 f6'],
  ['an enum map of two entries', 'a2 63476574 f6 66537461747573 f6'],
  ['an empty map', 'a0'],
  ['an empty array', '80'],
  ['an array of the name alone', '81 63476574'],
  ['an array of three', '83 63476574 f6 f6'],
  ['an unknown name', '65466f6e6473'],
  ['another case', '63676574'],
  ['a name from Object', '6b636f6e7374727563746f72'],
  ['an index beyond the last', '04'],
  ['a negative index', '20'],
  ['null', 'f6'],
  ['a float', 'f93c00'],
  ['a map in the place of a name', 'a1 a0 f6'],
]

for (const [what, bytes] of NO_REQUEST) {
  test(`no request, the connection stays open: ${what}`, () => {
    const refusal = refusalOf(hex(bytes))
    assert.equal(refusal.code, 'unknown_request')
    assert.equal(refusal.closes, false)
    assert.match(refusal.message, /expected a request|is no request of this tracker/)
  })
}

const WRONG_FIELDS: [string, string, RegExp][] = [
  ['a unit variant with an empty map', 'a163476574a0', /^Get: expected no fields, got a map$/],
  ['a struct variant as text', '655761746368', /^Watch: expected a map with the fields outpoint, got null$/],
  ['a struct variant as index', '03', /^Watch: expected a map/],
  ['a missing field', `a1 655761746368 a0`, /^Watch\.outpoint: this field is missing$/],
  [
    'a missing field inside',
    `a1 655761746368 81 a1 6474786964 ${BYTES}`,
    /^Watch\.outpoint\.vout: this field is missing$/,
  ],
  [
    'a field twice',
    `a1 655761746368 a2 ${KEY} ${OUTPOINT} ${KEY} ${OUTPOINT}`,
    /^Watch\.outpoint: this field comes twice$/,
  ],
  ['a field twice under two names', `a1 655761746368 a2 ${KEY} ${OUTPOINT} 00 ${OUTPOINT}`, /comes twice$/],
  [
    'too few values',
    `a1 655761746368 81 81 ${BYTES}`,
    /^Watch\.outpoint: expected a map with the fields txid, vout, got an array of 1$/,
  ],
  ['too many values', `a1 655761746368 81 83 ${BYTES} 05 06`, /got an array of 3$/],
  [
    'a txid as text',
    `a1 655761746368 81 82 7840${Buffer.from(TXID).toString('hex')} 05`,
    /^Watch\.outpoint\.txid: expected a byte string of 32 bytes, got a text of 64 characters$/,
  ],
  ['a short txid', 'a1 655761746368 81 82 4100 05', /got a byte string of 1 bytes$/],
  [
    'vout too large',
    `a1 655761746368 81 82 ${BYTES} 1b0000000100000000`,
    /^Watch\.outpoint\.vout: expected a whole number from 0 to 4294967295, got the number 4294967296$/,
  ],
  ['a vout beyond 2^53', `a1 655761746368 81 82 ${BYTES} 1bffffffffffffffff`, /got the number 18446744073709551615$/],
  ['a negative vout', `a1 655761746368 81 82 ${BYTES} 20`, /got the number -1$/],
  ['a float where an integer is expected', `a1 655761746368 81 82 ${BYTES} f93c00`, /got the float 1$/],
  ['port 65536', 'a1 6450696e67 82 6161 1a00010000', /^Ping\.port: expected a whole number from 0 to 65535/],
  ['null for a field that must be there', 'a1 64506f6e67 81 f6', /^Pong\.address: expected a text, got null$/],
]

for (const [what, bytes, message] of WRONG_FIELDS) {
  test(`a v1 request with wrong fields, closed: ${what}`, () => {
    const refusal = refusalOf(hex(bytes))
    assert.equal(refusal.code, 'bad_request')
    assert.equal(refusal.closes, true)
    assert.match(refusal.message, message)
    assert(refusal.type !== undefined)
  })
}

test('a later request with wrong fields leaves the connection open', () => {
  const refusal = refusalOf(hex('a166537461747573a0'))
  assert.deepEqual([refusal.code, refusal.type, refusal.closes], ['bad_request', 'Status', false])
})

for (const [what, bytes] of [
  ['an empty payload', ''],
  ['bytes after the request', '6347657400'],
  ['a prefix before nothing well-formed', '02ff'],
  ['two prefixes', '010163476574'],
  ['another prefix', '0363476574'],
  ['a text that is not UTF-8', '63c32865'],
  ['a cut request', wireVector('watch_vout0').cbor.slice(0, -2)],
] as const) {
  test(`no CBOR value, closed: ${what}`, () => {
    const refusal = refusalOf(hex(bytes))
    assert.equal(refusal.code, 'bad_frame')
    assert.equal(refusal.closes, true)
  })
}

test('64 KiB of array heads, and a million levels, are refused', () => {
  assert.equal(refusalOf(Buffer.alloc(65_536, 0x81)).code, 'bad_frame')
  assert.equal(refusalOf(Buffer.alloc(1_000_000, 0x81)).code, 'bad_frame')
  assert.equal(refusalOf(Buffer.alloc(1_000_000, 0xa1)).code, 'bad_frame')
})

test("a stranger's name is shown shortened and quoted", () => {
  const { message } = refusalOf(encode(`\n${'x'.repeat(60_000)}`))
  assert(message.length < 200)
  assert(!message.includes('\n'))
})

// ---- replies ---------------------------------------------------------------------------------------------------------

const HASH = asBlockHash('000000000000000000024bead8df69990852c202db0e0097c1a12ea637d7e96d')

test('Status and Pong are written field by field as declared', () => {
  const digest = Buffer.alloc(32, 0xdd)
  const tip = { version: '0.1.0', network: 'main', height: 900_000, blockHash: HASH, digest }
  const wireHash = `5820${Buffer.from(HASH, 'hex').reverse().toString('hex')}`
  const blockHash = Buffer.from(wireHash.slice(4), 'hex')
  const counts = { blockTimeS: 1_750_000_000, scannedFrom: 850_000, bonds: 3, makersUp: 2, uptimeS: 77 }
  assert.equal(
    encodeReply({ type: 'Pong', address: 'a:1', ...tip }).toString('hex'),
    encode({
      Pong: { address: 'a:1', version: '0.1.0', network: 'main', height: 900_000, block_hash: blockHash, digest },
    }).toString('hex'),
  )
  const status = {
    version: '0.1.0',
    network: 'main',
    height: 900_000,
    block_hash: blockHash,
    block_time: 1_750_000_000,
    scanned_from: 850_000,
    synced: true,
    bonds: 3,
    makers_up: 2,
    digest,
    uptime_s: 77,
  }
  const reply: Reply = { type: 'Status', ...tip, ...counts, synced: true }
  assert.equal(encodeReply(reply).toString('hex'), encode({ Status: status }).toString('hex'))
  assert.deepEqual(parseReply(encodeReply(reply)), reply)
  const pruned: Reply = { ...reply, unseen: { from: 840_000, to: 849_999 } }
  const unseen = { from: 840_000, to: 849_999 }
  assert.equal(encodeReply(pruned).toString('hex'), encode({ Status: { ...status, unseen } }).toString('hex'))
  assert.deepEqual(parseReply(encodeReply(pruned)), pruned)
})

test('a page of Bonds tells which blocks its list lacks', () => {
  const bare: Reply = {
    type: 'Bonds',
    height: 900_000,
    blockHash: asBlockHash('11'.repeat(32)),
    digest: Buffer.alloc(32, 7),
    total: 0,
    bonds: [],
  }
  const partial: Reply = { ...bare, unseen: { from: 874_080, to: 879_999 } }
  assert.deepEqual(parseReply(encodeReply(partial)), partial)
  assert.deepEqual(parseReply(encodeReply(bare)), bare)
  const bytes = encodeReply(partial).toString('hex')
  assert.ok(bytes.endsWith('66756e7365656ea26466726f6d1a000d566062746f1a000d6d7f'), bytes)
  assert.ok(!encodeReply(bare).includes('unseen'))
})

test('null stands for a field that may be missing, undefined does not', () => {
  assert.deepEqual(parseReply(encode({ Pong: { address: 'a', height: null } })), { type: 'Pong', address: 'a' })
  assert.throws(() => parseReply(hex('a1 64506f6e67 a2 6761646472657373 6161 66686569676874 f7')), /height/)
})

test('an Error of ours, and one with a code we do not know', () => {
  const expected = { type: 'Error', code: 'busy', message: 'later' }
  assert.deepEqual(parseReply(encodeError('busy', 'later')), expected)
  assert.deepEqual(parseReply(encode({ Error: { code: 'newer', message: '' } })), {
    type: 'Error',
    code: 'newer',
    message: '',
  })
})

test('what is no reply says which field is wrong', () => {
  for (const [bytes, message] of [
    [encode({ Address: { addresses: ['a', 7] } }), /Address\.addresses\[1\]: expected a text, got the number 7/],
    [
      encode({ WatchResponse: { mempool_tx: [{ txid: 'AB', seen_at: '' }] } }),
      /mempool_tx\[0\]\.txid: expected a txid/,
    ],
    [encode({ WatchResponse: { mempool_tx: [{ txid: TXID, rawtx: 'abc' }] } }), /rawtx: expected an even number/],
    [encode({ Bounced: {} }), /does not know/],
    [Buffer.alloc(0), /ends in the middle/],
  ] as const) {
    assert.throws(
      () => parseReply(bytes),
      (error) => error instanceof NotAReply && message.test(error.message),
    )
  }
})

// ---- properties ------------------------------------------------------------------------------------------------------

const anyHash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(fromInternal)
const anyText = fc.string({ unit: 'binary' })
const anyU32 = fc.nat(0xffff_ffff)
const anyBytes = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes))
const anyDigest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes))

const anyRequest: fc.Arbitrary<Request> = fc.oneof(
  fc.record({ type: fc.constant('Get' as const) }),
  fc.record({ type: fc.constant('Status' as const) }),
  fc.record({
    type: fc.constant('Watch' as const),
    outpoint: fc.record({ txid: anyHash.map(asTxid), vout: anyU32 }),
  }),
  fc.record({ type: fc.constant('Ping' as const), address: anyText, port: fc.nat(0xffff) }),
  fc.record({ type: fc.constant('Pong' as const), address: anyText }),
)

const anyReply: fc.Arbitrary<Reply> = fc.oneof(
  fc.record({ type: fc.constant('Address' as const), addresses: fc.array(anyText) }),
  fc.record({
    type: fc.constant('WatchResponse' as const),
    transactions: fc.array(
      fc.record(
        {
          txid: anyHash.map((txid) => txid as Txid),
          seenAtMs: fc.integer({ min: 0, max: 253_402_300_799_999 }),
          rawTx: anyBytes,
        },
        { noNullPrototype: true },
      ),
    ),
  }),
  fc.record(
    {
      type: fc.constant('Pong' as const),
      address: anyText,
      version: anyText,
      network: anyText,
      height: anyU32,
      blockHash: anyHash.map(asBlockHash),
      digest: anyDigest,
    },
    { requiredKeys: ['type', 'address'], noNullPrototype: true },
  ),
  fc.record({ type: fc.constant('Error' as const), code: anyText, message: anyText }),
)

test('any request and any reply come back from their bytes', () => {
  fc.assert(
    fc.property(anyRequest, fc.constantFrom(undefined, 1, 2), (request, prefix) => {
      const payload = encodeFrame(encodeRequest(request), prefix).subarray(4)
      assert.equal(JSON.stringify(requestOf(payload)), JSON.stringify(request))
    }),
  )
  fc.assert(
    fc.property(anyReply, (reply) => assert.deepEqual(parseReply(encodeReply(reply)), { ...reply })),
    {
      numRuns: 300,
    },
  )
})

test('mutated vectors and random bytes are judged and never throw', () => {
  const seeds = [...WIRE_V1.map(({ cbor }) => hex(cbor)), ...ACCEPTED.map(([, bytes]) => hex(bytes))]
  const anyMutation = fc.record({
    seed: fc.constantFrom(...seeds),
    edits: fc.array(fc.record({ at: fc.nat(400), byte: fc.nat(255), kind: fc.constantFrom('set', 'insert', 'cut') }), {
      minLength: 1,
      maxLength: 6,
    }),
  })
  const judge = (payload: Buffer) => {
    const parsed = parseRequest(payload)
    if (!parsed.ok) assert(['bad_frame', 'bad_request', 'unknown_request'].includes(parsed.code) && parsed.message)
    try {
      parseReply(payload)
    } catch (error) {
      assert(error instanceof NotAReply, String(error))
    }
  }
  fc.assert(
    fc.property(anyMutation, ({ seed, edits }) => {
      let bytes = [...seed]
      for (const { at, byte, kind } of edits) {
        const i = at % (bytes.length + 1)
        if (kind === 'set') bytes[i] = byte
        else if (kind === 'insert') bytes.splice(i, 0, byte)
        else bytes = bytes.slice(0, i)
      }
      judge(Buffer.from(bytes))
    }),
    { numRuns: 10_000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => judge(Buffer.from(bytes))),
    { numRuns: 10_000 },
  )
})

// ---- version 2 -------------------------------------------------------------------------------------------------------

const BLOCK_900_100 = asBlockHash(`00000000000000000001${'ab'.repeat(22)}`)
const BLOCK_900_101 = asBlockHash(`00000000000000000002${'cd'.repeat(22)}`)
const SWAP_OUTPUT = { txid: TXID, vout: 0 }
/** One input with a 71-byte signature, a 32-byte preimage and a script of one byte; one output. */
const SPENDER = hex(
  `02000000 0001 01 ${fromInternal(hex(TXID))} 00000000 00 fdffffff 01 68bf000000000000 16 0014${'11'.repeat(20)} 03 47${'30'.repeat(71)} 20${'22'.repeat(32)} 0151 00000000`,
)
const SEEN = {
  outpoint: SWAP_OUTPUT,
  registered: false,
  txid: asTxid(fromInternal(hex('a534e629f72ac2f59efd2727e48fad01a838cb1b5f481094cec1c1a84164773f'))),
  vin: 0,
  tx: SPENDER,
  firstSeenS: 1_774_000_000,
}

/** Of the outpoint above, over block 900,101: that of the published efforts. */
const EFFORT = EFFORTS.find(({ block_hash }) => block_hash === BLOCK_900_101)!

const V2_REQUESTS: Record<string, Request> = {
  subscribe: { type: 'Subscribe', outpoints: [SWAP_OUTPUT] },
  unsubscribe: { type: 'Unsubscribe', outpoints: [SWAP_OUTPUT] },
  watch_many: { type: 'WatchMany', outpoints: [SWAP_OUTPUT] },
  register: { type: 'Register', outpoints: [SWAP_OUTPUT], ttlBlocks: 2_016 },
  register_effort: { type: 'Register', outpoints: [SWAP_OUTPUT], ttlBlocks: 2_016, effort: hex(EFFORT.effort) },
}
const V2_REPLIES: Record<string, Reply> = {
  spends_unspent: {
    type: 'Spends',
    height: 900_100,
    blockHash: BLOCK_900_100,
    indexedFrom: 896_069,
    spends: [{ outpoint: SWAP_OUTPUT, state: 'unspent', registered: false }],
  },
  spend_mempool: { type: 'Spend', ...SEEN, state: 'mempool' },
  spend_confirmed: { type: 'Spend', ...SEEN, state: 'confirmed', height: 900_101, blockHash: BLOCK_900_101 },
  spends_none: { type: 'Spends', height: 900_101, blockHash: BLOCK_900_101, indexedFrom: 896_070, spends: [] },
  registered: { type: 'Registered', count: 1, untilHeight: 902_117 },
  error_effort: {
    type: 'Error',
    code: 'limit',
    message: `${askForEffort({ bits: 13, blockHash: BLOCK_900_101 })}: it had none, and 50000 of 100000 places are taken`,
  },
  registered_unfunded: {
    type: 'Registered',
    count: 1,
    untilHeight: 902_117,
    unfunded: 1,
    unfundedUntil: 900_245,
  },
  error_not_synced: {
    type: 'Error',
    code: 'not_synced',
    message: 'not synced: 12 blocks behind: scanned 900089 of 900101',
  },
}

test('the watch conversation: every message as published, both ways', () => {
  assert.deepEqual(WIRE_V2.map(({ name }) => name).sort(), Object.keys({ ...V2_REQUESTS, ...V2_REPLIES }).sort())
  for (const { name, cbor, frame } of WIRE_V2) {
    const request = V2_REQUESTS[name]
    const payload = request ? encodeRequest(request) : encodeReply(V2_REPLIES[name]!)
    assert.equal(payload.toString('hex'), cbor, name)
    assert.equal(encodeFrame(payload).toString('hex'), frame, name)
    if (request) assert.deepEqual(requestOf(hex(cbor)), request, name)
    else assert.deepEqual(parseReply(hex(cbor)), V2_REPLIES[name], name)
  }
})

test('docs/watching.md shows that conversation, byte for byte', () => {
  const text = readFileSync(new URL('../../../docs/watching.md', import.meta.url), 'utf8')
  const shown = [...text.matchAll(/^```hex\n([0-9a-f\n]+)```$/gm)].map(([, lines]) => lines!.replaceAll('\n', ''))
  assert.deepEqual(
    shown,
    WIRE_V2.map(({ frame }) => frame),
  )
})

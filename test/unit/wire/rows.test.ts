/** Rows over the wire and back: as bytes, so that what is absent there and how hashes stand there is seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toInternal } from '../../../src/chain/types.ts'
import { type BondRow, bondSchema } from '../../../src/views/schemas/bonds.ts'
import { spendSchema } from '../../../src/views/schemas/spends.ts'
import { statusSchema } from '../../../src/views/schemas/status.ts'
import { type TrackerRow, trackerSchema } from '../../../src/views/schemas/trackers.ts'
import { type WhyRow, whySchema } from '../../../src/views/schemas/why.ts'
import { spendRow } from '../../../src/views/spends.ts'
import type { Spend } from '../../../src/watch/spend.ts'
import { encodeReply, parseReply, type Reply, type ReplyOf } from '../../../src/wire/messages.ts'
import {
  bondFields,
  bondRowOf,
  statusFields,
  statusRowOf,
  trackerFields,
  trackerRowOf,
  whyFields,
  whyRowOf,
} from '../../../src/wire/rows.ts'
import { hashOf, txidOf } from '../../support/bonds.ts'

const overWire = <T extends Reply>(reply: T): T => parseReply(encodeReply(reply)) as T

const HEIGHT = 100_100
const DIGEST = 'd1'.repeat(32)
/** Not the same read backwards. */
const TXID = txidOf(0x0102)
const BLOCK = hashOf(0x0a0b)

const LIVE: BondRow = {
  outpoint: `${TXID}:4294967295`,
  address: 'maker.onion:21',
  amount: 2_099_999_997_690_000,
  conf_height: 100_000,
  block_hash: BLOCK,
  block_time: 1_760_000_000,
  lock_height: 115_000,
  value: 123_456_789_012,
  format: 'D',
  state: 'live',
  refusal: null,
  blocks_left: 14_899,
  spent_by: null,
  today: true,
  today_refusals: [],
  proven: true,
  reach: 'up',
  last_up: 1_760_000_123,
  probes: 4_294_967_295,
  uptime_ppm: 999_999,
}
const unlocked = { ...LIVE, format: 'A', lock_height: null, value: 0, blocks_left: 25_820 } as const
const notLive = { ...LIVE, value: 0, blocks_left: null } as const
const unconfirmed = { conf_height: null, block_hash: null, block_time: null } as const
const BONDS: Record<string, BondRow> = {
  live: LIVE,
  'without a lock': unlocked,
  'in its last block': { ...LIVE, lock_height: HEIGHT + 1, blocks_left: 0 },
  pending: { ...notLive, ...unconfirmed, state: 'pending', proven: false },
  'pending without a lock': { ...notLive, ...unconfirmed, format: 'A', lock_height: null, state: 'pending' },
  'never probed': { ...LIVE, proven: false, reach: 'unknown', last_up: null, probes: 0, uptime_ppm: null },
  'never answered': { ...LIVE, reach: 'down', last_up: null, probes: 9, uptime_ppm: 0 },
  'last up in 1970': { ...LIVE, last_up: 0 },
  refused: { ...notLive, state: 'refused', refusal: 'lock-too-short' },
  expired: { ...notLive, state: 'expired', lock_height: 100_050 },
  spent: { ...notLive, state: 'spent' },
  'not for today’s takers': { ...LIVE, today: false, today_refusals: ['outputs', 'lock-range'] },
  'of a tracker that does not look': { ...LIVE, today: null, today_refusals: null },
}

function page(row: BondRow): ReplyOf<'Bonds'> {
  const bonds = [bondFields(bondSchema.parse(row))] as ReplyOf<'Bonds'>['bonds']
  return { type: 'Bonds', height: HEIGHT, blockHash: BLOCK, digest: Buffer.from(DIGEST, 'hex'), total: 1, bonds }
}

for (const [what, row] of Object.entries(BONDS)) {
  test(`a bond comes back as it went: ${what}`, () => {
    const [fields] = overWire(page(row)).bonds
    assert.deepEqual(bondRowOf(fields!, HEIGHT), row)
  })
}

test('who spent a bond is not told, and nothing else is lost', () => {
  const spent_by = { txid: txidOf(9), vin: 1, height: 100_050, block_hash: hashOf(100_050) }
  const spent: BondRow = { ...notLive, state: 'spent', spent_by }
  const [fields] = overWire(page(spent)).bonds
  assert.deepEqual(bondRowOf(fields!, HEIGHT), { ...spent, spent_by: null })
})

test('what is not known has no key on the wire', () => {
  const bytes = (row: BondRow) => encodeReply(page(row)).toString('latin1')
  const keys = ['lock_height', 'refusal', 'last_up', 'uptime_ppm', 'today_refusals']
  const { refused, 'pending without a lock': pending } = BONDS
  for (const key of keys) {
    assert.ok(bytes({ ...refused!, today: false, today_refusals: ['unread'] }).includes(key), key)
    assert.ok(!bytes({ ...pending!, last_up: null, uptime_ppm: null }).includes(key), key)
  }
})

test('hashes stand in internal order on the wire, digests as they are', () => {
  const hexes = encodeReply(page(LIVE)).toString('hex')
  for (const hash of [TXID, BLOCK]) {
    assert.ok(hexes.includes(toInternal(hash).toString('hex')))
    assert.ok(!hexes.includes(hash))
  }
  assert.ok(hexes.includes(DIGEST))
  const why = encodeReply({ type: 'Why', ...whyFields(WHY) }).toString('hex')
  assert.ok(why.includes(toInternal(TXID).toString('hex')) && !why.includes(TXID))
})

const STATUS = statusSchema
  .pick({
    version: true,
    network: true,
    height: true,
    block_hash: true,
    block_time: true,
    scanned_from: true,
    unseen: true,
    synced: true,
    bonds: true,
    makers_up: true,
    digest: true,
  })
  .parse({
    version: '2.0.0',
    network: 'signet',
    height: HEIGHT,
    block_hash: BLOCK,
    block_time: 1_760_000_000,
    scanned_from: 74_000,
    unseen: { from: 70_000, to: 73_999 },
    synced: true,
    bonds: 3,
    makers_up: 2,
    digest: DIGEST,
  })

test('a status comes back as it went, also where a chain begins, and where nothing was scanned', () => {
  const rows = {
    full: STATUS,
    'all seen': { ...STATUS, unseen: null },
    genesis: { ...STATUS, height: 0, scanned_from: 0, unseen: null, block_time: 0 },
    nothing: {
      ...STATUS,
      ...{ height: null, block_hash: null, block_time: null, scanned_from: null, unseen: null, digest: null },
      ...{ synced: false, bonds: 0, makers_up: 0 },
    },
  }
  for (const [what, row] of Object.entries(rows)) {
    const back = statusRowOf(overWire({ type: 'Status', ...statusFields(row), uptimeS: 77 }))
    assert.deepEqual(back, { ...row, uptime_s: 77 }, what)
  }
})

const TRACKER = trackerSchema.parse({
  address: 't.onion:8080',
  source: 'learnt',
  version: '2.0.0',
  last_seen: 1_760_000_000,
  height: HEIGHT,
  digest: DIGEST,
  agrees: true,
  compared_height: HEIGHT,
  only_ours: [],
  only_theirs: [],
  failures: 0,
  failure: null,
})
const trackersOf = (...rows: TrackerRow[]) =>
  overWire({ type: 'Trackers', trackers: rows.flatMap(trackerFields) }).trackers.map(trackerRowOf)

test('a tracker comes back as far as the wire tells it; one that never answered is not told', () => {
  const { address, last_seen, height, digest } = TRACKER
  for (const agrees of [true, false, null]) {
    assert.deepEqual(trackersOf({ ...TRACKER, agrees }), [{ address, last_seen, height, digest, agrees }])
  }
  const first = { ...TRACKER, version: null, height: null, digest: null, agrees: null }
  assert.deepEqual(trackersOf(first), [{ address, last_seen, height: null, digest: null, agrees: null }])
  assert.deepEqual(trackersOf({ ...first, last_seen: null, failures: 1, failure: 'no connection' }), [])
  assert.deepEqual(
    trackersOf({ ...TRACKER, last_seen: 0, height: 0 }).map((row) => [row.last_seen, row.height]),
    [[0, 0]],
  )
})

const WHY: WhyRow = whySchema.parse({
  address: 'maker.onion:21',
  listed: false,
  reasons: [
    { code: 'spent', text: 'a', outpoint: `${TXID}:0`, height: 0 },
    { code: 'no-bond', text: 'b', outpoint: null, height: HEIGHT },
    { code: 'never-probed', text: 'c', outpoint: null, height: null },
  ],
})

test('reasons come back as they went, in their order', () => {
  for (const row of [WHY, { ...WHY, listed: true, reasons: [] }]) {
    const { type, ...fields } = overWire({ type: 'Why', ...whyFields(row) })
    assert.deepEqual([type, whyRowOf({ type, ...fields })], ['Why', row])
  }
})

test('a spend over the wire makes a row that lacks nothing', () => {
  const outpoint = { txid: TXID, vout: 1 }
  const unspent: Spend = { outpoint, state: 'unspent', registered: true }
  const confirmed: Spend = {
    outpoint,
    state: 'confirmed',
    registered: false,
    txid: txidOf(0x0304),
    vin: 0,
    tx: Buffer.from('00ff', 'hex'),
    height: HEIGHT,
    blockHash: BLOCK,
    firstSeenS: 0,
    conflicts: [txidOf(0x0506), txidOf(0x0708)],
  }
  const back = (spend: Spend) => {
    const reply: ReplyOf<'Spend'> = { type: 'Spend', ...spend }
    return spendSchema.parse(spendRow(overWire(reply)))
  }
  const nothing = { txid: null, vin: null, tx: null, height: null, block_hash: null, first_seen: null, conflicts: [] }
  assert.deepEqual(back(unspent), { outpoint: `${TXID}:1`, state: 'unspent', registered: true, ...nothing })
  assert.deepEqual(back(confirmed), {
    outpoint: `${TXID}:1`,
    state: 'confirmed',
    registered: false,
    txid: txidOf(0x0304),
    vin: 0,
    tx: '00ff',
    height: HEIGHT,
    block_hash: BLOCK,
    first_seen: 0,
    conflicts: [txidOf(0x0506), txidOf(0x0708)],
  })
})

test('another tracker’s texts can’t steer a terminal', () => {
  const evil = '\u001b[2J'
  const [bond] = overWire(page({ ...LIVE, address: `${evil}a` })).bonds
  assert.equal(bondRowOf({ ...bond!, refusal: evil }, HEIGHT).refusal, '?[2J')
  assert.deepEqual(bondRowOf({ ...bond!, todayRefusals: [evil] }, HEIGHT).today_refusals, ['?[2J'])
  assert.equal(bondRowOf(bond!, HEIGHT).address, '?[2Ja')
  const status = { type: 'Status', ...statusFields({ ...STATUS, version: evil }), uptimeS: 0 } as const
  assert.deepEqual([statusRowOf(status).version, statusRowOf({ ...status, network: evil }).network], ['?[2J', '?[2J'])
  assert.equal(trackersOf({ ...TRACKER, address: evil })[0]!.address, '?[2J')
  const why = whyRowOf({ type: 'Why', address: evil, listed: true, reasons: [{ code: evil, text: evil }] })
  assert.deepEqual(why, {
    address: '?[2J',
    listed: true,
    reasons: [{ code: '?[2J', text: '?[2J', outpoint: null, height: null }],
  })
})

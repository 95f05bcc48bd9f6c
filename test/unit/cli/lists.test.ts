/** Lists as people see them: their order, and their words where rows have numbers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeWhy, describeWhyTransaction } from '../../../src/cli/answer-text.ts'
import { describeBonds, sortBonds } from '../../../src/cli/bond-text.ts'
import { describeWatches } from '../../../src/cli/client-text.ts'
import type { MakerSort } from '../../../src/cli/maker-sorts.ts'
import { describeMakers, sortMakers } from '../../../src/cli/maker-text.ts'
import { describeRelays, describeTrackers } from '../../../src/cli/peer-text.ts'
import { describeFields } from '../../../src/cli/status-text.ts'
import type { TableLook } from '../../../src/cli/table.ts'
import { type BondRow, bondSchema } from '../../../src/views/schemas/bonds.ts'
import { type MakerRow, makerSchema } from '../../../src/views/schemas/makers.ts'
import { txidOf } from '../../support/bonds.ts'
import { onionHost } from '../../support/onions.ts'
import { aRelay, aTalkativeRelay } from '../../support/relays.ts'

/** Two hours after the relays of the tests were read. */
const LOOK: TableLook = { width: undefined, nowMs: 1_800_007_200_000 }

const OFFER = {
  seen_at: 0,
  base_fee: 500,
  amount_relative_fee_pct: 0.0025,
  time_relative_fee_pct: 0.0001,
  swap_fee: 540,
  required_confirms: 1,
  minimum_locktime: 10,
  min_size: 10_000,
  max_size: 1_000_000,
  lightning: null,
  lightning_fault: null,
}

function aRow(name: string, overrides: Partial<MakerRow>): MakerRow {
  return makerSchema.parse({
    address: `${name}.onion:21`,
    outpoint: `${'ab'.repeat(32)}:0`,
    amount: 50_000,
    value: 1_000,
    conf_height: 1,
    lock_height: 20_000,
    blocks_left: 5_000,
    format: 'D',
    today: true,
    today_refusals: [],
    proven: true,
    proof_failed: null,
    proof_note: null,
    bonds: 1,
    bonds_today: 1,
    total_amount: 50_000,
    reach: 'up',
    last_up: null,
    probes: 100,
    uptime_ppm: 900_000,
    probes_1d: 0,
    uptime_1d_ppm: null,
    dialect: null,
    protocols: null,
    offer: OFFER,
    offer_fault: null,
    pick: { chance_ppm: null, place: null, obstacle: 'not-known', text: 'nobody knows' },
    ...overrides,
  })
}

const ROWS = [
  aRow('plain', {}),
  aRow('rich', { value: 2_000, offer: { ...OFFER, swap_fee: 640 } }),
  aRow('new', { probes: 0, uptime_ppm: null, offer: null, blocks_left: 9_000 }),
  aRow('steady', { probes: 200, blocks_left: 100 }),
  aRow('dear', { value: 500, offer: { ...OFFER, swap_fee: 1_000 }, probes: 1, uptime_ppm: 1 }),
]

const ORDER: Record<MakerSort, string> = {
  value: 'rich plain new steady dear',
  uptime: 'steady plain rich dear new',
  fee: 'plain steady rich dear new',
  left: 'new plain rich dear steady',
}

for (const [by, order] of Object.entries(ORDER) as [MakerSort, string][]) {
  test(`by ${by}, best first, equals as they were, the unknown last`, () => {
    assert.equal(
      sortMakers(ROWS, by)
        .map(({ address }) => address.replace('.onion:21', ''))
        .join(' '),
      order,
    )
  })
}

test('relays: their counts in a table, and a line for everything that is to be said', () => {
  assert.equal(describeRelays([], LOOK), 'no relay is watched: --nostr-relays names some')
  const quiet = aRelay({ url: 'ws://quiet.example' })
  const unread = aRelay({ url: 'ws://new.example', state: 'connecting', counts: undefined })
  const lines = describeRelays([aTalkativeRelay([txidOf(1)]), quiet, unread], LOOK).split('\n')
  const name = 'wss://relay.example'
  assert.deepEqual(
    lines.map((line) => line.replace(/ +/g, ' ')),
    [
      'RELAY STATE ANNOUNCED MISSING DEAD INVALID DELAY LAST READ',
      `${name} live 3 1 2 5 31 s (3) 2 h ago`,
      'ws://quiet.example live 3 0 0 0 - 2 h ago',
      'ws://new.example connecting - - - - - 2 h ago',
      `${name} not read, 1 times in a row: it closed the connection (1001)`,
      `${name} not valid: 4 expired, 1 signature`,
      `${name} lacks ${txidOf(1)}:0`,
      `${name} said NOTICE: slow down`,
      `${name} said AUTH: asks who we are, and is not told`,
      `${name} published: 1 accepted, 2 duplicate, 3 refused, 4 silent, 5 unserved; nothing until 2027-01-15 08:10 UTC: pow: 20 bits needed`,
    ],
  )
})

function aBond(number: number, overrides: Partial<BondRow> = {}): BondRow {
  return bondSchema.parse({
    outpoint: `${txidOf(number)}:0`,
    address: `${onionHost('maker')}:21`,
    amount: 50_000,
    conf_height: 900_000,
    block_hash: 'b1'.repeat(32),
    block_time: 1_800_000_000,
    lock_height: 920_000,
    value: 1_000,
    format: 'D',
    state: 'live',
    refusal: null,
    blocks_left: 4_960,
    spent_by: null,
    today: true,
    today_refusals: [],
    proven: false,
    reach: 'up',
    last_up: null,
    probes: 0,
    uptime_ppm: null,
    ...overrides,
  })
}

test('bonds: blocks have days and dates beside them, an old format is called so, and no lock is not worth 0', () => {
  const rows = [
    aBond(1),
    aBond(2, { format: 'A', lock_height: null, value: 0, today: false, today_refusals: ['text-format', 'sequences'] }),
  ]
  const lines = describeBonds(rows, LOOK, 915_039).split('\n')
  assert.match(lines[1]!, / 1000 +900000 \(2027-01-15\) +920000 +34 days \(4960\) +yes /)
  assert.match(lines[2]!, / - +900000 \(2027-01-15\) +- +34 days \(4960\) +no: old format A, sequences /)
  assert.equal(lines[3], '2 bonds at block 915039')
  assert.equal(describeBonds([], LOOK, null), 'nothing scanned yet')
})

test('bonds stand in one order, whatever order they come in: also those that are worth the same', () => {
  const rows = [
    aBond(3, { value: 2_000 }),
    ...[7, 5, 6].map((number) => aBond(number)),
    aBond(1, { state: 'expired', value: 0, conf_height: 2 }),
    aBond(2, { state: 'spent', value: 0, conf_height: 3 }),
  ]
  const order = sortBonds(rows).map(({ outpoint }) => outpoint)
  for (const other of [rows.toReversed(), sortBonds(rows).toReversed()]) {
    assert.deepEqual(
      sortBonds(other).map(({ outpoint }) => outpoint),
      order,
    )
  }
  assert.deepEqual(
    sortBonds(rows).map(({ state, value }) => `${state} ${value}`),
    ['live 2000', 'live 1000', 'live 1000', 'live 1000', 'expired 0', 'spent 0'],
  )
})

test('a maker’s name without its port, for OpenSwap, is there where its port is the one that the name means', () => {
  const host = onionHost('maker')
  const rows = [aRow('plain', { address: `${host}:21` }), aRow('other', { address: `${host}:6102` })]
  assert.equal(
    describeMakers(rows, { ...LOOK, columns: ['name'] }, 5)
      .split('\n')
      .slice(0, 3)
      .join(),
    `NAME,${host},-`,
  )
  assert.match(describeMakers(rows, LOOK, 5), /--maker-address takes the name without its :21/)
  assert.doesNotMatch(describeMakers(rows.slice(1), LOOK, 5), /maker-address/)
  const why = (address: string, listed: boolean) => describeWhy({ address, listed, reasons: [] })
  assert.match(why(`${host}:21`, true), new RegExp(`\nfor OpenSwap's --maker-address: ${host}$`))
  assert.doesNotMatch(why(`${host}:21`, false), /OpenSwap/)
})

test('times of others are told as spans and dates, not in seconds', () => {
  const seen = { address: 'a.example:8080', last_seen: 1_800_000_000, height: 5, agrees: true }
  assert.match(describeTrackers([seen], LOOK), / 2 h ago /)
  assert.deepEqual(
    describeFields({ version: '1', block_time: 1_800_000_000, uptime_s: 300_000, synced: true, unseen: null }).split(
      '\n',
    ),
    ['version     1', 'block time  2027-01-15 08:00:00 UTC', 'uptime      3 days', 'synced      yes'],
  )
  const watches = { count: 3, places: 10, unfunded: 1, height: 100, ends: [{ from: 1_008, to: 2_015, count: 3 }] }
  assert.match(describeWatches(watches, LOOK), /\n +3 +1008 +2015 +13 days$/)
})

test('a transaction: not known, no bond, or what it announces', () => {
  const txid = txidOf(1)
  const row = { txid, found: true, announces: null, height: 5, reasons: ['why'], maker: null }
  assert.equal(describeWhyTransaction({ ...row, found: false, height: null }), `${txid} can't be read\n- why.`)
  assert.match(
    describeWhyTransaction(row),
    new RegExp(`^${txid}, in block 5, announces no bond\n- why\\.\nAn announcement is .*OP_RETURN.*\\.$`),
  )
  const announces = { outpoint: `${txid}:0`, address: 'a:21', format: 'D', amount: 5, lock_height: 9 }
  assert.equal(
    describeWhyTransaction({ ...row, announces, height: null, reasons: [] }),
    `${txid}, in the mempool, announces a:21 (format D) with 5 sats in output 0, locked until block 9`,
  )
})

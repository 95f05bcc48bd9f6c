/** The order in which the makers verb shows its rows, and what the relays verb says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeRelays, type MakerSort, sortMakers } from '../../../src/cli/text.ts'
import { type MakerRow, makerSchema } from '../../../src/views/schemas.ts'
import { txidOf } from '../../support/bonds.ts'
import { aRelay, aTalkativeRelay } from '../../support/relays.ts'

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
  assert.equal(describeRelays([]), 'no relay is watched: --nostr-relays names some')
  const quiet = aRelay({ url: 'ws://quiet.example' })
  const unread = aRelay({ url: 'ws://new.example', state: 'connecting', counts: undefined })
  const lines = describeRelays([aTalkativeRelay([txidOf(1)]), quiet, unread]).split('\n')
  const name = 'wss://relay.example'
  assert.deepEqual(
    lines.map((line) => line.replace(/ +/g, ' ')),
    [
      'RELAY STATE ANNOUNCED MISSING DEAD INVALID DELAY LAST READ',
      `${name} live 3 1 2 5 31 s (3) 2027-01-15 08:00:00 UTC`,
      'ws://quiet.example live 3 0 0 0 - 2027-01-15 08:00:00 UTC',
      'ws://new.example connecting - - - - - 2027-01-15 08:00:00 UTC',
      `${name} not read, 1 times in a row: it closed the connection (1001)`,
      `${name} not valid: 4 expired, 1 signature`,
      `${name} lacks ${txidOf(1)}:0`,
      `${name} said NOTICE: slow down`,
      `${name} said AUTH: asks who we are, and is not told`,
      `${name} published: 1 accepted, 2 duplicate, 3 refused, 4 silent, 5 unserved; nothing until 2027-01-15 08:10:00 UTC: pow: 20 bits needed`,
    ],
  )
})

/** The order in which the makers verb shows its rows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type MakerRow, type MakerSort, sortMakers } from '../../../src/cli/makers.ts'

const OFFER = {
  at: 0,
  base_fee: 500,
  amount_fee_pct: 0.0025,
  time_fee_pct: 0.0001,
  required_confirms: 1,
  minimum_locktime: 10,
  min_size: 10_000,
  max_size: 1_000_000,
}

function aRow(address: string, overrides: Partial<MakerRow>): MakerRow {
  return {
    address,
    reach: 'up',
    proven: true,
    proof_failed: null,
    outpoint: '',
    format: 'D',
    amount: 50_000,
    value: 1_000,
    blocks_left: 5_000,
    bonds: 1,
    last_up: null,
    uptime_1d: { ppm: null, probes: 0 },
    uptime_30d: { ppm: 900_000, probes: 100 },
    dialect: null,
    protocols: null,
    offer: OFFER,
    ...overrides,
  }
}

const ROWS = [
  aRow('plain', {}),
  aRow('rich', { value: 2_000, offer: { ...OFFER, base_fee: 600 } }),
  aRow('new', { uptime_30d: { ppm: null, probes: 0 }, offer: null, blocks_left: 9_000 }),
  aRow('steady', { uptime_30d: { ppm: 900_000, probes: 200 }, blocks_left: 100 }),
  aRow('dear', {
    value: 500,
    offer: { ...OFFER, base_fee: 0, amount_fee_pct: 0.1 },
    uptime_30d: { ppm: 1, probes: 1 },
  }),
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
        .map(({ address }) => address)
        .join(' '),
      order,
    )
  })
}

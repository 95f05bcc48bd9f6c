/** A maker's row: what a swap with it costs, which of its bonds stands for it, and offers that say what none can. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asSats } from '../../../src/chain/types.ts'
import type { OfferTerms } from '../../../src/peers/types.ts'
import { makerRows, swapFee } from '../../../src/views/makers.ts'
import { makerSchema } from '../../../src/views/schemas/makers.ts'
import { aBond, txidOf } from '../../support/bonds.ts'
import { factsOf, type Said } from '../../support/facts.ts'
import { TERMS } from '../../support/offers.ts'

const OFFER: OfferTerms = {
  ...TERMS,
  atMs: 1_700_000_000_999,
}

const rows = (said: Said) => makerRows(factsOf(said)).map((row) => makerSchema.parse(row))
const outpoint = (n: number) => ({ txid: txidOf(n), vout: 0 })

/** base, per cent of the amount, per cent of the amount per block; of a swap of so many sats and blocks. */
const FEES: [fee: number, of: [number, number, number], swap: [number, number]][] = [
  [4_800, [300, 2.5, 0.1], [100_000, 20]], // 300 + 2,500 + 2,000
  [5_500, [1_000, 2.5, 0.1], [100_000, 20]], // the example in OpenSwap's own comment
  [300, [100, 0.1, 0.005], [100_000, 20]], // and its later one
  [4_801, [300, 2.5, 0.1], [100_001, 20]], // 300 + 2,500.025 + 2,000.02
  [501, [500, 0.0025, 0], [10_001, 150]], // 500 + 0.250025: any fraction is a sat
  [500, [500, 0, 0], [1, 1]],
  [0, [0, 0, 0], [1_000_000, 150]],
  [106_501, [500, 0.1, 0.07], [1_000_000, 150]], // 106,500.00000000001 in doubles, which the maker reckons in, too
]
for (const [fee, [baseFeeSats, amountFeePct, timeFeePct], [amountSats, refundLockBlocks]] of FEES) {
  test(`${baseFeeSats} sats, ${amountFeePct} %, ${timeFeePct} % a block: ${amountSats} sats for ${refundLockBlocks} blocks cost ${fee}`, () => {
    assert.equal(swapFee({ baseFeeSats, amountFeePct, timeFeePct }, { amountSats, refundLockBlocks }), fee)
  })
}

test('offers are compared by a swap of 1,000,000 sats and 20 blocks', () => {
  assert.equal(swapFee(OFFER), 545) // 500 + 25 + 20
  const [row] = rows({ bonds: [aBond()], offers: { 'maker.onion:21': OFFER } })
  assert.deepEqual(row!.offer, {
    base_fee: 500,
    amount_relative_fee_pct: 0.0025,
    time_relative_fee_pct: 0.0001,
    required_confirms: 1,
    minimum_locktime: 10,
    min_size: 10_000,
    max_size: 1_000_000,
    swap_fee: 545,
    seen_at: 1_700_000_000,
    lightning: null,
    lightning_fault: null,
  })
  assert.equal(row!.offer_fault, null)
})

test('Lightning terms stand in the offer; what another version has kept and can not be meant is told, and costs it nothing', () => {
  const terms = { swapIn: true, swapOut: true, baseFeeSats: 5, amountFeePct: 0.5, amountSatsMin: 1, amountSatsMax: 2 }
  const shown = (lightning: OfferTerms['lightning']) =>
    rows({ bonds: [aBond()], offers: { 'maker.onion:21': { ...OFFER, lightning } as OfferTerms } })[0]!.offer!
  assert.deepEqual(shown({ terms }).lightning, {
    ...{ swap_in: true, swap_out: true, base_fee: 5, amount_relative_fee_pct: 0.5, min_size: 1 },
    ...{ max_size: 2, max_swap_in: null, max_swap_out: null },
  })
  assert.equal(shown({ terms }).lightning_fault, null)
  for (const part of [{ terms: { ...terms, amountSatsMax: -1 } }, { fault: 'lightning.max_size: none' }]) {
    const { lightning, lightning_fault, swap_fee } = shown(part)
    assert.deepEqual([lightning, swap_fee], [null, 545])
    assert.match(lightning_fault!, /^lightning\.max_size: /)
  }
})

test('an offer without confirmations is one; who never made an offer has neither offer nor fault', () => {
  const { requiredConfirms: _, ...taproot } = OFFER
  const [row] = rows({ bonds: [aBond()], offers: { 'maker.onion:21': taproot } })
  assert.deepEqual([row!.offer?.required_confirms, row!.offer_fault], [null, null])
  const [silent] = rows({ bonds: [aBond()] })
  assert.deepEqual([silent!.offer, silent!.offer_fault], [null, null])
})

const NO_COUNT = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2.1e15 + 1]
const NO_RATE = [
  -0.1,
  -Number.MIN_VALUE,
  100.01,
  Number.MAX_VALUE,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
]
const BROKEN: [name: string, field: keyof OfferTerms, values: number[]][] = [
  ['base_fee', 'baseFeeSats', NO_COUNT],
  ['amount_relative_fee_pct', 'amountFeePct', NO_RATE],
  ['time_relative_fee_pct', 'timeFeePct', NO_RATE],
  ['required_confirms', 'requiredConfirms', NO_COUNT],
  ['minimum_locktime', 'lockBlocksMin', NO_COUNT],
  ['min_size', 'amountSatsMin', NO_COUNT],
  ['max_size', 'amountSatsMax', NO_COUNT],
  ['min_size', 'amountSatsMin', [1_000_001]],
]
for (const [name, field, values] of BROKEN) {
  test(`an offer whose ${name} is none is not shown, and the fault names it: ${values.join(', ')}`, () => {
    for (const value of values) {
      const [broken, sound] = rows({
        bonds: [
          aBond({ address: 'broken.onion:21', outpoint: outpoint(1), amountSats: asSats(90_000) }),
          aBond({ address: 'sound.onion:21', outpoint: outpoint(2) }),
        ],
        offers: { 'broken.onion:21': { ...OFFER, [field]: value }, 'sound.onion:21': OFFER },
      })
      assert.deepEqual([broken!.address, broken!.offer], ['broken.onion:21', null], String(value))
      assert.match(broken!.offer_fault!, new RegExp(`^${name}: \\S`), String(value))
      assert.deepEqual([sound!.offer?.swap_fee, sound!.offer_fault], [545, null], 'nobody else is touched')
    }
  })
}

test('a maker with two live bonds is one row: its best bond, and what all of them come to', () => {
  const bonds = [
    aBond({ outpoint: outpoint(1), amountSats: asSats(60_000), confHeight: 99_000 }),
    aBond({ outpoint: outpoint(2), amountSats: asSats(90_000) }),
    aBond({ outpoint: outpoint(3), amountSats: asSats(990_000), refusal: 'lock-too-long' }),
  ]
  for (const given of [bonds, bonds.toReversed()]) {
    const [row, ...others] = rows({ bonds: given })
    assert.deepEqual(others, [])
    assert.deepEqual(
      [row!.outpoint, row!.amount, row!.conf_height, row!.lock_height, row!.blocks_left],
      [`${txidOf(2)}:0`, 90_000, 100_000, 115_000, 14_899],
    )
    assert.deepEqual([row!.bonds, row!.total_amount], [2, 150_000])
  }
})

test('of bonds worth the same the first outpoint stands, in the order of the digest; of makers worth the same too', () => {
  // 0100 comes before 01: bytes are compared as blocks have them.
  const own = [aBond({ outpoint: outpoint(0x01) }), aBond({ outpoint: outpoint(0x0100) })]
  const each = own.map((bond, i) => ({ ...bond, address: `${'ab'[i]}.onion:21` }))
  for (const turn of [<T>(list: T[]) => list, <T>(list: T[]) => list.toReversed()]) {
    assert.deepEqual(
      rows({ bonds: turn(own) }).map((row) => row.outpoint),
      [`${txidOf(0x0100)}:0`],
    )
    assert.deepEqual(
      rows({ bonds: turn(each) }).map(({ address }) => address),
      ['b.onion:21', 'a.onion:21'],
    )
  }
})

test('who is picked: by address, if takers find it, it answers, its proof holds and its limits admit the swap', () => {
  const life = (reach: 'up' | 'down', answered = 100) => ({
    reach,
    day: { answered: 0, observed: 0 },
    month: { answered, observed: 100 },
  })
  const made = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  const all = made.map((name, i) => aBond({ address: `${name}.onion:21`, outpoint: outpoint(i + 1) }))
  all[0] = { ...all[0]!, txRefusals: ['text-format'] }
  const of = <T>(values: Record<string, T>) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [`${name}.onion:21`, value]))
  const verdict = { atMs: 0, outpoint: outpoint(4), failed: 'cert-hash' as const, text: 'another' }
  const byName = new Map(
    rows({
      bonds: all,
      offers: of({
        a: OFFER,
        b: OFFER,
        d: OFFER,
        e: { ...OFFER, amountSatsMin: 1_000_001, amountSatsMax: 2e6 },
        f: OFFER,
        g: OFFER,
        h: OFFER,
      }),
      lives: of({
        a: life('up'),
        b: life('down'),
        c: life('up'),
        d: life('up'),
        e: life('up'),
        f: life('up', 80),
        g: life('up'),
        h: life('up'),
      }),
      records: of({ d: { address: 'd.onion:21', lastProbeMs: 0, failures: 0, verdict } }),
    }).map(({ address, pick }) => [address[0], [pick.place, pick.chance_ppm, pick.obstacle]]),
  )
  assert.deepEqual(Object.fromEntries(byName), {
    a: [null, 0, 'not-today'],
    b: [null, 0, 'down'],
    c: [null, null, 'not-known'],
    d: [null, 0, 'proof-failed'],
    e: [null, 0, 'amount'],
    f: [1, 800_000, null],
    g: [2, 1_000_000, null],
    h: [3, 200_000, null],
  })
})

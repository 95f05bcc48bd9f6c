/** What a change is in the log: the rules of what is read in the morning, and what only at level debug. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BondState } from '../../../src/bonds/types.ts'
import type { Change } from '../../../src/events/changes.ts'
import { lineOf, type MakerTold, makerLine } from '../../../src/events/log-lines.ts'
import type { Reach } from '../../../src/peers/types.ts'
import { aBond } from '../../support/bonds.ts'

const OUTPOINT = `${'ab'.repeat(32)}:0`
const MAKER = 'maker.onion:21'
const NOON_S = Date.UTC(2026, 10, 21, 12) / 1_000

function bond(state: BondState | 'gone', previous: BondState | null): string {
  const change: Change = { kind: 'bond', data: { outpoint: OUTPOINT, address: MAKER, state, previous, height: 900 } }
  const { level, msg } = lineOf(change, () => undefined)!
  return `${level}: ${msg}`
}

test('bonds that are found, spent, expired or taken back are read in the morning; what never was one is not', () => {
  for (const previous of [null, 'pending'] as const) assert.equal(bond('live', previous), 'info: bond found')
  for (const previous of ['live', 'expired'] as const) assert.equal(bond('spent', previous), 'info: bond spent')
  assert.equal(bond('expired', 'live'), 'info: bond expired')
  assert.equal(bond('gone', 'live'), 'info: bond gone: its transaction was taken back')
  for (const previous of ['spent', 'expired'] as const)
    assert.match(bond('live', previous), /^info: bond is live again/)
  for (const state of ['pending', 'refused'] as const) assert.match(bond(state, null), /^debug: /)
  assert.match(bond('gone', 'pending'), /^debug: /)
})

test('a bond that is found is told with what it is', () => {
  const found = aBond({ address: MAKER })
  const data = { outpoint: OUTPOINT, address: MAKER, state: 'live' as const, previous: null, height: 900 }
  const known = { key: OUTPOINT, bond: found, state: 'live' as const, value: 77 }
  assert.deepEqual(lineOf({ kind: 'bond', data }, () => known)!.fields, {
    outpoint: OUTPOINT,
    maker: MAKER,
    amountSats: found.amountSats,
    value: 77,
    confHeight: found.conf.height,
    endHeight: found.lockHeight,
    height: 900,
  })
})

test('what rooms say themselves is not told again', () => {
  const told: Change[] = [
    { kind: 'readiness', data: { ready: true, not_ready: [], height: 1 } },
    { kind: 'reset', data: { changes: null, height: 1 } },
    {
      kind: 'tracker',
      data: { address: 'a:1', agrees: false, previous: true, only_ours: [], only_theirs: [], height: 1 },
    },
  ]
  assert.deepEqual(
    told.map((change) => lineOf(change, () => undefined)),
    [undefined, undefined, undefined],
  )
})

test('a maker is told when it goes and when it comes back, with since when, and not when it only misses a probe', () => {
  const told = (reach: Reach, lastUpS: number | null, before?: MakerTold) => {
    const data = { address: MAKER, listed: true, reach, previous: null, last_up: lastUpS, height: 900 }
    const line = makerLine(data, before, {
      ...{ address: MAKER, lastProbeMs: 0, failures: 3 },
      ...{ failure: 'unreachable' as const, failureText: 'no such service' },
    })
    return line && [line.msg, line.fields]
  }
  const up: MakerTold = { reach: 'up', lastUpS: NOON_S }
  const down: MakerTold = { reach: 'down', lastUpS: NOON_S }
  const lastUp = '2026-11-21 12:00:00 UTC'
  assert.deepEqual(told('up', NOON_S), ['maker up', { maker: MAKER }])
  assert.deepEqual(
    [told('unknown', NOON_S, up), told('up', NOON_S + 9, up), told('down', NOON_S, down)],
    Array(3).fill(undefined),
  )
  const why = { failure: 'unreachable', detail: 'no such service' }
  assert.deepEqual(told('down', NOON_S, up), ['maker down', { maker: MAKER, lastUp, ...why }])
  assert.deepEqual(told('down', null), ['maker down', { maker: MAKER, lastUp: 'never', ...why }])
  assert.deepEqual(told('up', NOON_S + 3_600, down), ['maker up', { maker: MAKER, lastUp, downS: 3_600 }])
  assert.deepEqual(told('up', NOON_S, { reach: 'down', lastUpS: null }), [
    'maker up',
    { maker: MAKER, lastUp: 'never' },
  ])
})

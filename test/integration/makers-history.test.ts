/** The history of probes in a real database: single ones, hours, uptime, retention, and what outlives a restart. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ConfirmedBond } from '../../src/bonds/types.ts'
import { asBlockHash, asSats, asTxid } from '../../src/chain/types.ts'
import { CurrentMarket } from '../../src/market.ts'
import { Liveness } from '../../src/peers/liveness.ts'
import { type ProbeFinding, REACH_RULES, uptimePpm } from '../../src/peers/reach.ts'
import type { Offer, ProbeResult } from '../../src/peers/types.ts'
import { insertBond } from '../../src/store/local/bonds.ts'
import { insertBlock } from '../../src/store/local/tip.ts'
import { type Db, openStore } from '../../src/store/open.ts'
import { readOffers } from '../../src/store/shared/makers.ts'
import {
  PROBE_HISTORY_LIMITS,
  pruneProbes,
  readProbeSteps,
  readProbes,
  readUptime,
} from '../../src/store/shared/probes.ts'
import { alone } from '../support/alone.ts'
import { TERMS } from '../support/offers.ts'
import { HandClock } from '../support/wire.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MAKER = '127.0.0.1:6102'
const HASH = asBlockHash('b1'.repeat(32))
const OUTPOINT = { txid: asTxid('aa'.repeat(32)), vout: 0 }
const TIP = { height: 100, hash: HASH, timeS: 1_700_000_000 }

interface Ours {
  db: Db
  clock: HandClock
  liveness: Liveness
  /** As after a restart. */
  again(): Liveness
}

function open(t: TestContext): Ours {
  const dir = mkdtempSync(join(tmpdir(), 'ft-history-'))
  const { db } = openStore(dir, 'regtest')
  t.after(() => {
    db[Symbol.dispose]()
    rmSync(dir, { recursive: true })
  })
  insertBlock(db, { height: 100, hash: HASH, prevHash: HASH, timeS: TIP.timeS })
  const output = { outpoint: OUTPOINT, address: MAKER, format: 'B' as const, amountSats: asSats(50_000), isP2wsh: true }
  insertBond(db, { ...output, lockHeight: 15_000 }, 100)
  const clock = new HandClock()
  clock.atMs = 1_800_000_000_000
  const again = () =>
    new Liveness(
      db,
      new CurrentMarket(db, { revision: 1, pendingRevision: 1, tip: () => TIP }),
      REACH_RULES,
      clock,
      alone(db),
    )
  return { db, clock, liveness: again(), again }
}

const FINDING: Record<'answered' | 'failed' | 'unjudged', ProbeFinding> = {
  answered: { outcome: 'answered', dialect: 'unified', protocols: ['Legacy'] },
  failed: { outcome: 'failed', failure: 'silent', text: 'no reply' },
  unjudged: { outcome: 'unjudged' },
}

function probed({ liveness, clock }: Pick<Ours, 'liveness' | 'clock'>, ...outcomes: (keyof typeof FINDING)[]): void {
  for (const outcome of outcomes) {
    const base = { latencyMs: 12.3, hasPinged: false }
    const result: ProbeResult =
      outcome === 'answered'
        ? { ...base, kind: 'answered', dialect: 'unified', protocols: ['Legacy'] }
        : { ...base, kind: 'failed', failure: 'silent', text: 'no reply' }
    liveness.recordProbe(MAKER, clock.nowMs(), FINDING[outcome], result)
    clock.atMs += 600_000
  }
}

test('uptime counts observed probes only, and comes with their number', (t) => {
  const ours = open(t)
  probed(ours, 'answered', 'answered', 'answered', 'failed', 'unjudged', 'unjudged')
  const { day, ...life } = ours.liveness.lifeOf(MAKER)
  assert.deepEqual(life, { reach: 'unknown', lastUpS: 1_800_001_200, month: { answered: 3, observed: 4 } })
  assert.deepEqual(day, life.month)
  assert.equal(uptimePpm(day), 750_000)
  const none = { answered: 0, observed: 0 }
  assert.deepEqual(ours.liveness.lifeOf('somebody:1'), { reach: 'unknown', day: none, month: none })
  assert.equal(uptimePpm(none), undefined)
})

test('a day and a month are told apart', (t) => {
  const ours = open(t)
  probed(ours, 'failed', 'failed')
  ours.clock.atMs += 3 * DAY
  probed(ours, 'answered')
  const nowMs = ours.clock.nowMs()
  assert.deepEqual(readUptime(ours.db, MAKER, nowMs - DAY), { answered: 1, observed: 1 })
  assert.deepEqual(readUptime(ours.db, MAKER, nowMs - 30 * DAY), { answered: 1, observed: 3 })
  ours.clock.atMs += 31 * DAY
  assert.equal(ours.liveness.lifeOf(MAKER).month.observed, 0, 'an old sum is not told for ever')
})

test('single probes go after a week, their hours after 400 days, and then the maker', (t) => {
  const ours = open(t)
  probed(ours, 'answered', 'failed')
  assert.equal(readProbes(ours.db, MAKER, 10).length, 2)
  ours.clock.atMs += PROBE_HISTORY_LIMITS.rawMs
  ours.liveness.prune()
  assert.deepEqual(readProbes(ours.db, MAKER, 10), [])
  assert.equal(readUptime(ours.db, MAKER, 0).observed, 2)
  ours.clock.atMs += PROBE_HISTORY_LIMITS.hoursMs
  pruneProbes(ours.db, ours.clock.nowMs())
  assert.equal(readUptime(ours.db, MAKER, 0).observed, 0)
  ours.liveness.prune()
  assert.equal(ours.liveness.record(MAKER), undefined)
  assert.equal(ours.again().record(MAKER), undefined)
})

test('what all makers gave, hour by hour', (t) => {
  const ours = open(t)
  const { changes } = ours.liveness
  probed(ours, 'answered', 'failed', 'unjudged')
  assert.equal(ours.liveness.changes, changes + 3)
  ours.clock.atMs += 2 * HOUR
  probed(ours, 'answered')
  const fromMs = 500_000 * HOUR
  assert.deepEqual(readProbeSteps(ours.db, 0, HOUR, 10), [
    { fromMs, failed: 1, latenciesMs: [12] },
    { fromMs: fromMs + 2 * HOUR, failed: 0, latenciesMs: [12] },
  ])
  assert.equal(readProbeSteps(ours.db, ours.clock.nowMs() - HOUR, HOUR, 10).length, 1)
  assert.equal(readProbeSteps(ours.db, 0, HOUR, 1).length, 1, 'the newest count')
})

test('a single probe tells what failed, and how long it took', (t) => {
  const ours = open(t)
  probed(ours, 'answered', 'failed', 'unjudged')
  assert.deepEqual(
    readProbes(ours.db, MAKER, 10).map(({ atMs: _, ...probe }) => probe),
    [
      { outcome: 'unjudged', failure: 'silent', text: 'no reply', latencyMs: 12 },
      { outcome: 'failed', failure: 'silent', text: 'no reply', latencyMs: 12 },
      { outcome: 'answered', dialect: 'unified', latencyMs: 12 },
    ],
  )
})

test('the list is told when somebody goes down, and when it returns; all of it outlives a restart', (t) => {
  const ours = open(t)
  probed(ours, 'failed', 'failed', 'failed')
  const { revision } = ours.liveness
  assert.equal(ours.liveness.isDown(MAKER), false, '20 minutes only')
  probed(ours, 'failed')
  assert.equal(ours.liveness.isDown(MAKER), true)
  assert.equal(ours.liveness.revision, revision + 1)
  assert.deepEqual(ours.liveness.counts(), { up: 0, down: 1, unknown: 0 })
  const after = ours.again()
  assert.equal(after.isDown(MAKER), true)
  assert.deepEqual(after.record(MAKER), ours.liveness.record(MAKER))
  probed(ours, 'answered')
  assert.equal(ours.liveness.revision, revision + 2)
  assert.deepEqual(ours.again().counts(), { up: 1, down: 0, unknown: 0 })
})

const OFFER: Offer = {
  ...TERMS,
  tweakablePoint: Buffer.alloc(33),
  proof: {
    outpoint: OUTPOINT,
    amountSats: asSats(50_000),
    lockHeight: 15_000,
    publicKey: Buffer.alloc(33),
    certHash: Buffer.alloc(32),
    certSig: Buffer.alloc(70),
  },
}

test('an offer that can’t be meant takes the place of the last one; one that does not come leaves it', (t) => {
  const ours = open(t)
  const { liveness, clock } = ours
  const verdict = { ok: true, era: 'tweak-point', note: 'so' } as const
  const seen = () => {
    const offer = liveness.offerOf(MAKER)
    const record = liveness.record(MAKER)
    assert.deepEqual(ours.again().offerOf(MAKER), offer)
    assert.deepEqual(ours.again().record(MAKER), record)
    return [offer?.baseFeeSats, record?.offerFault, record?.verdict?.text]
  }
  probed(ours, 'answered')
  liveness.recordNoOffer(MAKER, clock.nowMs())
  assert.deepEqual(seen(), [undefined, undefined, undefined])
  liveness.recordOffer(MAKER, clock.nowMs(), OFFER, verdict, undefined)
  assert.deepEqual(seen(), [500, undefined, 'so'])
  liveness.recordNoOffer(MAKER, clock.nowMs())
  assert.deepEqual(seen(), [500, undefined, 'so'])
  liveness.recordNoOffer(MAKER, clock.nowMs(), 'unreadable')
  assert.deepEqual(seen(), [undefined, 'unreadable', 'so'])
  liveness.recordNoOffer(MAKER, clock.nowMs())
  assert.deepEqual(seen(), [undefined, 'unreadable', 'so'])
  liveness.recordOffer(MAKER, clock.nowMs(), OFFER, verdict, undefined)
  assert.deepEqual(seen(), [500, undefined, 'so'])
  liveness.recordOffer(MAKER, clock.nowMs(), { ...OFFER, baseFeeSats: -1 }, verdict, undefined, 'negative')
  assert.deepEqual(seen(), [undefined, 'negative', 'so'])
})

test('a verdict by a check that is made no more says nothing: the offer is asked for anew', (t) => {
  const ours = open(t)
  probed(ours, 'answered')
  const refused = { ok: false, era: 'tweak-point', failed: 'signature', text: 'so' } as const
  ours.liveness.recordOffer(MAKER, ours.clock.nowMs(), OFFER, refused, undefined)
  assert.equal(ours.again().record(MAKER)?.verdict?.failed, 'signature')
  ours.db.prepare("UPDATE makers SET proof_failed = 'conf-height'").run()
  const record = ours.again().record(MAKER)
  assert.deepEqual([record?.verdict, record?.offerAskedMs], [undefined, undefined])
  assert.equal(record?.lastUpMs, ours.liveness.record(MAKER)?.lastUpMs)
})

test('a proof holds while its bond stays in its block; the maker’s own bad offer ends it, a spend does not', (t) => {
  const ours = open(t)
  const { liveness, clock } = ours
  const bond: ConfirmedBond = {
    outpoint: OUTPOINT,
    address: MAKER,
    format: 'B',
    amountSats: asSats(50_000),
    isP2wsh: true,
    lockHeight: 15_000,
    conf: { height: 100, hash: HASH },
    confTimeS: TIP.timeS,
  }
  probed(ours, 'answered')
  liveness.recordOffer(MAKER, clock.nowMs(), OFFER, { ok: true, era: 'tweak-point' }, bond)
  assert.equal(liveness.isProven(bond), true)
  assert.equal(ours.again().isProven(bond), true)
  assert.equal(liveness.isProven({ ...bond, conf: { height: 101, hash: asBlockHash('b2'.repeat(32)) } }), false)
  assert.deepEqual(readOffers(ours.db).get(MAKER)?.amountSatsMax, 1_000_000)
  assert.deepEqual(ours.again().offerOf(MAKER), liveness.offerOf(MAKER))
  const { conf: _, ...withoutBlock } = bond
  assert.equal(liveness.isProven(withoutBlock), false, 'pending again')

  const refused = (failed: 'spent' | 'signature') => ({ ok: false, era: 'tweak-point', failed, text: 'so' }) as const
  liveness.recordOffer(MAKER, clock.nowMs(), OFFER, refused('spent'), bond)
  assert.equal(liveness.isProven(bond), true)
  liveness.recordOffer('other:1', clock.nowMs(), OFFER, refused('signature'), bond)
  assert.equal(liveness.isProven(bond), true)
  liveness.recordOffer(MAKER, clock.nowMs(), OFFER, refused('signature'), bond)
  assert.equal(liveness.isProven(bond), false)
  assert.equal(ours.again().record(MAKER)?.verdict?.failed, 'signature')
  liveness.recordPost(bond, 'tweak-point', clock.nowMs())
  assert.equal(ours.again().isProven(bond), true)
})

/** Every reason a maker could meet, and that each says what to do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConfirmedBond, TX_REFUSALS } from '../../../src/bonds/types.ts'
import { asBlockHash, asSats, asTxid, formatOutpoint } from '../../../src/chain/types.ts'
import { REACH_RULES, reachOf } from '../../../src/peers/reach.ts'
import type { MakerRecord } from '../../../src/peers/types.ts'
import { parseMakerName } from '../../../src/tor/address.ts'
import { makerRows } from '../../../src/views/makers.ts'
import { REASON_CODES, whySchema } from '../../../src/views/schemas/why.ts'
import { explain, type WhyFacts } from '../../../src/views/why.ts'
import { factsOf } from '../../support/facts.ts'
import { onionHost } from '../../support/onions.ts'

const HOST = onionHost('maker')
const MAKER = `${HOST}:21`
const NOW_MS = 1_800_000_000_000
const TIP = { height: 100_000, hash: asBlockHash('b1'.repeat(32)), timeS: 1_800_000_000 }
const MINUTE = 60_000

let made = 0
function aBond(overrides: Partial<ConfirmedBond> = {}): ConfirmedBond {
  const txid = asTxid((++made).toString(16).padStart(64, '0'))
  return {
    outpoint: { txid, vout: 0 },
    address: MAKER,
    format: 'D',
    amountSats: asSats(50_000),
    isP2wsh: true,
    txRefusals: [],
    lockHeight: 110_000,
    conf: { height: 85_000, hash: TIP.hash },
    confTimeS: TIP.timeS - 3_000_000,
    ...overrides,
  }
}

const UP: MakerRecord = { address: MAKER, lastProbeMs: NOW_MS, lastUpMs: NOW_MS, failures: 0 }

function why(facts: Partial<WhyFacts>, { record = UP as MakerRecord | null, proven = true } = {}) {
  const base: WhyFacts = {
    asked: MAKER,
    name: { address: MAKER },
    network: 'main',
    tip: TIP,
    notSynced: undefined,
    bonds: [],
    pending: [],
    otherPorts: [],
    unseen: undefined,
    life: {
      record: () => record ?? undefined,
      reachOf: () => reachOf(record ?? undefined, NOW_MS, REACH_RULES),
      isProven: () => proven,
    },
    nowMs: NOW_MS,
    relaysWithout: () => [],
  }
  const answer = whySchema.parse(explain({ ...base, ...facts }))
  for (const { code, text } of answer.reasons) {
    assert.ok(REASON_CODES.includes(code))
    met.add(code)
    assert.match(text, /^[\x20-\x7e]{40,}$/, 'a sentence, printable')
    assert.doesNotMatch(text, /undefined|NaN|\.$/)
  }
  return answer
}
const met = new Set<string>()

function codes(...args: Parameters<typeof why>): [boolean, ...string[]] {
  const { listed, reasons } = why(...args)
  return [listed, ...reasons.map(({ code }) => code)]
}

test('a maker in order: listed, and nothing to say', () => {
  assert.deepEqual(codes({ bonds: [aBond()] }), [true])
})

test('nobody announced it; blocks that were not seen are named', () => {
  assert.deepEqual(codes({}), [false, 'no-bond'])
  assert.match(why({ unseen: { from: 5, to: 9 } }).reasons[0]!.text, /Blocks 5 to 9 were never read/)
})

test('announced with another port than asked: that one is named', () => {
  const [reason] = why({ name: { address: `${HOST}:6102` }, otherPorts: [MAKER, `${HOST}:9`] }).reasons
  assert.equal(reason!.code, 'no-bond')
  assert.match(reason!.text, new RegExp(`announced with :21, :9, not with :6102: ask about ${MAKER}`))
})

test('nobody announced it: what an announcement is, is told', () => {
  assert.match(why({}).reasons[0]!.text, /2 or 3 outputs .* output 0 is the bond .* OP_RETURN with one push/)
})

test('a format that takers of today no longer read is called old', () => {
  const bond = aBond({ format: 'A', txRefusals: ['text-format'] })
  assert.match(why({ bonds: [bond] }).reasons[0]!.text, /announced in the old format A, <56 characters>.onion:<port>/)
  const current = aBond({ txRefusals: ['text-format'] })
  assert.doesNotMatch(why({ bonds: [current] }).reasons[0]!.text, /old format/)
})

test('names: with port, without, the bare label; anything else is malformed', () => {
  const options = { allowTestAddresses: false }
  assert.deepEqual(parseMakerName(MAKER, options), { address: MAKER })
  assert.deepEqual(parseMakerName(HOST, options), { host: HOST })
  assert.deepEqual(parseMakerName(HOST.replace('.onion', ''), options), { host: HOST })
  const wrong = `${HOST.startsWith('a') ? 'b' : 'a'}${HOST.slice(1)}:21`
  for (const text of [wrong, 'x', '', '127.0.0.1:1', `${HOST}:0`, HOST.toUpperCase()]) {
    assert.equal(parseMakerName(text, options), undefined, text)
  }
  assert.deepEqual(parseMakerName('127.0.0.1:1', { allowTestAddresses: true }), { address: '127.0.0.1:1' })
  assert.deepEqual(codes({ asked: 'x\u001b[2J', name: undefined }), [false, 'malformed-address'])
  assert.equal(why({ asked: 'x\u001b[2J', name: undefined }).address, 'x?[2J')
})

test('not synced: nobody is listed, and what is known is told', () => {
  assert.deepEqual(codes({ notSynced: 'scanned 5 of 9', bonds: [aBond()] }), [false, 'not-synced'])
  assert.deepEqual(codes({ tip: undefined }), [false, 'not-synced'])
})

test('bonds that don’t count: pending, refused in every way, spent, expired', () => {
  const { conf: _, confTimeS: __, ...pending } = aBond()
  assert.deepEqual(codes({ pending: [pending] }), [false, 'pending'])
  for (const refusal of ['not-p2wsh', 'too-small', 'lock-passed', 'lock-too-short', 'lock-too-long'] as const) {
    assert.deepEqual(codes({ bonds: [aBond({ refusal })] }), [false, `refused-${refusal}`])
  }
  const spentBy = { txid: asTxid('cc'.repeat(32)), vin: 1, height: 99_000, blockHash: TIP.hash }
  const [spent] = why({ bonds: [aBond({ spentBy })] }).reasons
  assert.deepEqual([spent!.code, spent!.height], ['spent', 99_000])
  const [expired] = why({ bonds: [aBond({ lockHeight: 99_500 })] }).reasons
  assert.deepEqual([expired!.code, expired!.height], ['expired', 99_500])
  const { lockHeight: ___, ...formatA } = aBond({ conf: { height: 70_000, hash: TIP.hash }, format: 'A' })
  assert.deepEqual(codes({ bonds: [formatA] }), [false, 'expired'])
})

test('a better bond of the same maker stands before another; one that ends within a week is announced', () => {
  const better = aBond({ amountSats: asSats(90_000) })
  assert.deepEqual(codes({ bonds: [aBond(), better] }), [true, 'shadowed'])
  const [soon] = why({ bonds: [aBond({ lockHeight: 100_144 })] }).reasons
  assert.deepEqual([soon!.code, soon!.height], ['expiring', 100_144])
  assert.deepEqual(codes({ bonds: [aBond({ lockHeight: 101_009 })] }), [true])
  assert.deepEqual(
    codes({ bonds: [aBond({ lockHeight: 101_008 })] }),
    [true, 'expiring'],
    'a week and not a block more',
  )
})

test('blocks are counted from our tip to the end, which is the first block without the bond', () => {
  const ending = (bond: ConfirmedBond) => {
    const { code, text, height } = why({ bonds: [bond] }).reasons[0]!
    const [, end, away] = /ends at block (\d+), (\d+ blocks?) after this one/.exec(text) ?? []
    assert.deepEqual([code, height], ['expiring', Number(end)])
    return [height, away]
  }
  assert.deepEqual(ending(aBond({ lockHeight: 100_946 })), [100_946, '946 blocks'])
  assert.deepEqual(ending(aBond({ lockHeight: 100_002 })), [100_002, '2 blocks'])
  assert.deepEqual(
    ending(aBond({ lockHeight: 100_001 })),
    [100_001, '1 block'],
    'the next block is the first without it',
  )
  const { lockHeight: _, ...unlocked } = aBond({ format: 'A', conf: { height: 74_080, hash: TIP.hash } })
  assert.deepEqual(ending(unlocked), [100_001, '1 block'], '25,920 blocks old, and live')
  const older = { ...unlocked, conf: { height: 74_079, hash: TIP.hash } }
  const [expired] = why({ bonds: [older] }).reasons
  assert.deepEqual([expired!.code, expired!.height], ['expired', 100_000])
  assert.match(expired!.text, /expired at block 100000: .*counts until it is 25920 blocks old/)
})

test('a bond lives up to the block before its lock, and is expired from that on', () => {
  assert.deepEqual(codes({ bonds: [aBond({ lockHeight: 100_001 })] }), [true, 'expiring'])
  assert.deepEqual(codes({ bonds: [aBond({ lockHeight: 100_000 })] }), [false, 'expired'])
})

test('of bonds worth the same the one stands before the others that the makers’ rows name', () => {
  const conf = { height: 90_000, hash: TIP.hash }
  // Number 0100 comes before 01 where bytes are compared as blocks have them; and formats without a lock are worth 0.
  const ids = ['01', '0100'].map((id) => ({ txid: asTxid(id.padStart(64, '0')), vout: 0 }))
  const twins = ids.map((outpoint) => aBond({ outpoint, conf }))
  const unlocked = ids.map((outpoint, i) => {
    const { lockHeight: _, ...bond } = aBond({ outpoint, format: 'A', conf: { ...conf, height: conf.height + i } })
    return bond
  })
  for (const bonds of [twins, twins.toReversed(), unlocked, unlocked.toReversed()]) {
    const [row] = makerRows(factsOf({ tip: TIP, bonds }))
    const { reasons } = why({ bonds })
    const shadowed = reasons.filter(({ code }) => code === 'shadowed')
    assert.deepEqual(
      shadowed.map(({ outpoint }) => outpoint),
      [formatOutpoint(ids[0]!)],
    )
    assert.equal(row!.outpoint, formatOutpoint(ids[1]!))
    assert.ok(shadowed[0]!.text.includes(`listed once, by ${row!.outpoint}`))
  }
})

test('asked by its host, each of its ports is told of; one that is up is enough to be listed', () => {
  const other = `${HOST}:99`
  const bonds = [aBond(), aBond({ address: other, amountSats: asSats(90_000) })]
  const ports = (reaches: Record<string, 'up' | 'down'>) => {
    const life: WhyFacts['life'] = {
      record: (address) =>
        reaches[address] === 'up'
          ? { ...UP, address }
          : { ...UP, address, failures: 3, failure: 'silent', failureText: 'no reply within 30 s' },
      reachOf: (address) => reaches[address]!,
      isProven: () => true,
    }
    const { listed, reasons } = why({ asked: HOST, name: { host: HOST }, bonds, life })
    return [listed, ...reasons.map(({ code, text }) => `${code} ${text.split(' ')[0]}`)]
  }
  assert.deepEqual(ports({ [MAKER]: 'up', [other]: 'up' }), [true], 'no bond stands before another maker’s')
  assert.deepEqual(ports({ [MAKER]: 'up', [other]: 'down' }), [true, `down ${other}`])
  assert.deepEqual(ports({ [MAKER]: 'down', [other]: 'down' }), [false, `down ${other}`, `down ${MAKER}`])
})

test('what is alive, what waits and what has ended are told together, in this order', () => {
  const { conf: _, confTimeS: __, ...pending } = aBond()
  const ended = [aBond({ refusal: 'too-small', conf: { height: 1, hash: TIP.hash } }), aBond({ lockHeight: 99_500 })]
  assert.deepEqual(
    codes(
      { notSynced: 'scanned 5 of 9', bonds: [...ended, aBond({ lockHeight: 100_100 })], pending: [pending] },
      { proven: false },
    ),
    [false, 'not-synced', 'not-proven', 'expiring', 'pending', 'expired', 'refused-too-small'],
  )
})

test('what probes say: never probed, failing, down since', () => {
  const bonds = [aBond()]
  assert.deepEqual(codes({ bonds }, { record: null }), [true, 'never-probed'])
  const failing: MakerRecord = {
    ...UP,
    failures: 2,
    firstFailureMs: NOW_MS - 10 * MINUTE,
    lastFailureMs: NOW_MS,
    failure: 'silent',
    failureText: 'no reply within 30 s',
  }
  assert.deepEqual(codes({ bonds }, { record: failing }), [true, 'failing'])
  const down = { ...failing, failures: 4, firstFailureMs: NOW_MS - 40 * MINUTE }
  assert.deepEqual(codes({ bonds }, { record: down }), [false, 'down'])
  assert.match(
    why({ bonds }, { record: down }).reasons[0]!.text,
    /4 probes in a row failed since 2027-01-15 07:20:00 UTC/,
  )
})

test('what its offers say: a proof that failed, and one that never came', () => {
  const bonds = [aBond()]
  assert.deepEqual(codes({ bonds }, { proven: false }), [true, 'not-proven'])
  const verdict = {
    atMs: NOW_MS,
    outpoint: bonds[0]!.outpoint,
    failed: 'cert-hash' as const,
    text: 'expected a, got b',
  }
  const { listed, reasons } = why({ bonds }, { record: { ...UP, verdict }, proven: false })
  assert.ok(listed, 'listed all the same: nothing but the chain and reach hide a bond')
  assert.deepEqual([reasons[0]!.code, reasons[0]!.outpoint], ['proof-failed', formatOutpoint(bonds[0]!.outpoint)])
  assert.match(reasons[0]!.text, /Takers refuse the maker for this/)
  const ours = { ...verdict, failed: 'announced-address' as const }
  const tied = why({ bonds }, { record: { ...UP, verdict: ours }, proven: false })
  assert.match(tied.reasons[0]!.text, /Takers do not make this check/)
})

test('a confirmation height that a reorg has changed is told, and takes nothing away', () => {
  const bonds = [aBond()]
  const verdict = { atMs: NOW_MS, outpoint: bonds[0]!.outpoint, text: 'confirmed at height 178, the proof says 177' }
  const { listed, reasons } = why({ bonds }, { record: { ...UP, verdict } })
  assert.deepEqual([listed, ...reasons.map(({ code }) => code)], [true, 'conf-height'])
  assert.equal(reasons[0]!.outpoint, formatOutpoint(bonds[0]!.outpoint))
  assert.match(
    reasons[0]!.text,
    /holds, but .* 178, the proof says 177, .*since September 2026 do not read that; older/,
  )
})

test('an offer that can not be meant is told with what is wrong', () => {
  const offerFault = 'base_fee: expected a whole number from 0 to 5, got -1'
  const [reason] = why({ bonds: [aBond()] }, { record: { ...UP, offerFault, offerAskedMs: NOW_MS } }).reasons
  assert.equal(reason!.code, 'offer-refused')
  assert.ok(reason!.text.includes(`(2027-01-15 08:00:00 UTC) can't be used`) && reason!.text.includes(offerFault))
})

test('what today’s takers hold against a bond is told with what to do, of live ones and of those in the mempool', () => {
  const told = (bond: ConfirmedBond) => why({ bonds: [bond] }).reasons.map(({ code, text }) => [code, text] as const)
  for (const refusal of TX_REFUSALS) {
    const [[code, text] = ['', '']] = told(aBond({ txRefusals: [refusal] }))
    assert.equal(code, 'not-today')
    assert.ok(text.includes(`(${refusal})`) && text.includes("today's takers skip the bond "), text)
    assert.match(text, /because .+: .+ \(.+\). It counts here all the same, .*make a new bond$/)
  }
  const short = aBond({ conf: { height: 98_000, hash: TIP.hash }, txRefusals: ['outputs', 'push'] })
  assert.match(
    told(short)[0]![1],
    /\(outputs\); and because .*\(push\); and because it is locked until 110000, 12000 blocks after its confirmation: lock it for 12960 to 25920 \(lock-range\)/,
  )
  const { txRefusals: _, ...unread } = aBond()
  assert.deepEqual(codes({ bonds: [unread] }), [true, 'not-today'])
  assert.match(told(unread)[0]![1], /is not known: .* in block 85000 was not read again yet/)
  assert.deepEqual(codes({ bonds: [aBond({ refusal: 'too-small', txRefusals: ['push'] })] }), [
    false,
    'refused-too-small',
  ])

  const { conf: __, confTimeS: ___, ...pending } = aBond({ txRefusals: ['leading-zero'] })
  const [waits, skipped, ...more] = why({ pending: [pending] }).reasons
  assert.deepEqual([waits!.code, skipped!.code, more], ['pending', 'not-today', []])
  assert.match(
    skipped!.text,
    /will skip the bond .* once it is confirmed, because .*\(leading-zero\)\. Replace its transaction/,
  )
  assert.equal(skipped!.height, null)
})

test('a maker that announced without end gets a bounded answer, what is alive first', () => {
  const dead = Array.from({ length: 100 }, () => aBond({ refusal: 'too-small' }))
  const { reasons } = why({ bonds: [...dead, aBond({ lockHeight: 100_010 })] })
  assert.equal(reasons.length, 30)
  assert.equal(reasons[0]!.code, 'expiring')
})

test('relays without a valid event of the best bond are named, for whom takers of today should find', () => {
  const bonds = [aBond()]
  const relaysWithout = () => ['wss://a.example', 'wss://b.example']
  const { listed, reasons } = why({ bonds, relaysWithout })
  assert.deepEqual([listed, reasons.map(({ code }) => code)], [true, ['not-on-relay']])
  assert.match(reasons[0]!.text, /wss:\/\/a\.example, wss:\/\/b\.example .*those relays do not find/)
  assert.deepEqual(codes({ bonds, relaysWithout: () => [] }), [true])
  const asked: string[] = []
  const noted = (txid: string) => {
    asked.push(txid)
    return []
  }
  const better = aBond({ amountSats: asSats(90_000) })
  why({ bonds: [...bonds, better], relaysWithout: noted })
  assert.deepEqual(asked, [better.outpoint.txid], 'only its best bond, which it announces')
  const down = {
    ...UP,
    ...{ failures: 3, firstFailureMs: NOW_MS - 7_200_000, lastFailureMs: NOW_MS - 60_000 },
    ...{ failure: 'silent' as const, failureText: 'no answer' },
  }
  assert.ok(!codes({ bonds, relaysWithout }, { record: down }).includes('not-on-relay'))
  assert.ok(!codes({ bonds: [aBond({ txRefusals: ['text-format'] })], relaysWithout }).includes('not-on-relay'))
})

test('no reason is left that nobody meets', () => {
  assert.deepEqual(
    REASON_CODES.filter((code) => !met.has(code)),
    [],
  )
})

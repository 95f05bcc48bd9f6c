/**
 * Whether takers of today accept an announcement: every single deviation by its code, the transaction that today's makers
 * build, and random transactions against the same rules written a second time (test/sandbox/nostr/taker-rules.ts).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import fc from 'fast-check'
import { announcementScript, findAnnouncement } from '../../../src/bonds/announcement.ts'
import { isTakenToday, todayRefusalsOf, txRefusalsOf } from '../../../src/bonds/today.ts'
import { type AnnouncedOutput, TODAY_REFUSALS, TX_REFUSALS } from '../../../src/bonds/types.ts'
import { asSats, type Network } from '../../../src/chain/types.ts'
import { judgeTransaction, type VerboseTransaction } from '../../sandbox/nostr/taker-rules.ts'
import { hashOf } from '../../support/bonds.ts'
import { onionHost } from '../../support/onions.ts'

const HOST = onionHost('maker')
const LABEL = HOST.replace('.onion', '')
const CONF_HEIGHT = 900_000
const LOCK_HEIGHT = CONF_HEIGHT + 15_000
const TEXT = `${LABEL}#${LOCK_HEIGHT}`

const P2WSH = Buffer.concat([Buffer.of(0x00, 0x20), Buffer.alloc(32, 7)])
const P2TR = Buffer.concat([Buffer.of(0x51, 0x20), Buffer.alloc(32, 8)])
const P2WPKH = Buffer.concat([Buffer.of(0x00, 0x14), Buffer.alloc(20, 9)])

interface Output {
  script: Buffer
  sats: bigint
}
interface Plan {
  outputs?: Output[]
  lockTime?: number
  sequences?: number[]
}

const bondOutput: Output = { script: P2WSH, sats: 10_000n }
const announcing = (text = TEXT, sats = 0n): Output => ({ script: announcementScript(text), sats })
const change: Output = { script: P2TR, sats: 5_000_000n }
const ORDINARY = [bondOutput, announcing(), change]

function aTransaction({ outputs = ORDINARY, lockTime = CONF_HEIGHT - 1, sequences = [0] }: Plan = {}): Transaction {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = lockTime
  for (const [i, sequence] of sequences.entries()) tx.addInput(Buffer.alloc(32, 1), i, sequence)
  for (const { script, sats } of outputs) tx.addOutput(script, sats)
  return tx
}

/** As an index has it: null where we read no announcement. */
function refusalsOf(tx: Transaction, confHeight: number | undefined = CONF_HEIGHT, network: Network = 'main') {
  const announced = findAnnouncement(tx, { allowTestAddresses: false })
  return announced ? todayRefusalsOf(confirmed(announced, confHeight), network) : null
}

function confirmed(announced: AnnouncedOutput, height: number | undefined) {
  return height === undefined ? announced : { ...announced, conf: { height, hash: hashOf(height) } }
}

const scriptOf = (hex: string): Output => ({ script: Buffer.from(hex, 'hex'), sats: 0n })
const hexOf = (text: string) => Buffer.from(text).toString('hex')
const push = (head: string, tail = '', text = TEXT): Output => scriptOf(`6a${head}${hexOf(text)}${tail}`)
const length = TEXT.length.toString(16)
const withOutput1 = (output: Output): Plan => ({ outputs: [bondOutput, output, change] })

/** What the production program of 2026-08 was seen to build: `6a3e` and `<56>#15175`, nLockTime 176, sequence 0, P2TR. */
test('the bond that a maker of today makes is taken', () => {
  const text = `${LABEL}#15175`
  const tx = aTransaction({
    outputs: [{ script: P2WSH, sats: 10_000n }, scriptOf(`6a3e${hexOf(text)}`), { script: P2TR, sats: 99_989_588n }],
    lockTime: 176,
  })
  assert.equal(tx.outs[1]!.script.length, 64)
  assert.deepEqual(refusalsOf(tx, 177), [])
  assert.deepEqual(refusalsOf(tx, 177, 'regtest'), [])
})

const VECTORS: [what: string, plan: Plan, refusals: string[] | null][] = [
  ['nothing', {}, []],
  ['no change', { outputs: ORDINARY.slice(0, 2) }, []],
  ['four outputs', { outputs: [...ORDINARY, change] }, ['outputs']],
  ['five outputs', { outputs: [...ORDINARY, change, change] }, ['outputs']],
  ['output 2 announces', { outputs: [bondOutput, change, announcing()] }, ['announcement-place']],
  [
    'output 2 announces behind another OP_RETURN',
    { outputs: [bondOutput, announcing('hello'), announcing()] },
    ['announcement-place', 'text-format'],
  ],
  [
    'output 2 announces, and output 1 with a leading zero',
    { outputs: [bondOutput, announcing(`${LABEL}#0${LOCK_HEIGHT}`), announcing()] },
    ['leading-zero'],
  ],
  [
    'output 2 announces, output 1 with a wrong checksum',
    { outputs: [bondOutput, announcing(`${'a'.repeat(56)}#${LOCK_HEIGHT}`), announcing()] },
    ['announcement-place', 'text-format'],
  ],
  [
    'outputs 0 and 1 announce',
    { outputs: [{ ...announcing(), sats: 10_000n }, announcing()] },
    ['announcement-place', 'not-p2wsh'],
  ],
  ['a value', withOutput1(announcing(TEXT, 1n)), ['announcement-value']],
  ['PUSHDATA1', withOutput1(push(`4c${length}`)), ['push']],
  ['PUSHDATA2', withOutput1(push(`4d${length}00`)), ['push']],
  ['bytes after the push', withOutput1(push(length, '00')), null],
  [
    'bytes after the push, and output 2 announces',
    { outputs: [bondOutput, push(length, '00'), announcing()] },
    ['announcement-place', 'push'],
  ],
  ['format A', withOutput1(announcing(`${HOST}:6102`)), ['text-format']],
  ['format A, 68 bytes', withOutput1(announcing(`${HOST}:16102`)), ['push', 'text-format']],
  ['format B', withOutput1(announcing(`${HOST}:6102#${LOCK_HEIGHT}`)), ['push', 'text-format']],
  ['format C', withOutput1(announcing(`${HOST}#${LOCK_HEIGHT}`)), ['push', 'text-format']],
  ['format C, 67 bytes', withOutput1(announcing(`${HOST}#9151`)), ['text-format', 'lock-range']],
  ['67 bytes', withOutput1(announcing(`${LABEL}#4294967295`)), ['lock-range']],
  ['a leading zero', withOutput1(announcing(`${LABEL}#0${LOCK_HEIGHT}`)), ['leading-zero']],
  ['nLockTime is a time', { lockTime: 500_000_000 }, ['locktime-kind']],
  ['nLockTime is the last height', { lockTime: 499_999_999 }, []],
  ['nLockTime 0', { lockTime: 0 }, null],
  ['final sequences', { sequences: [0xffffffff, 0xffffffff] }, ['sequences']],
  ['one sequence is not final', { sequences: [0xffffffff, 0xfffffffe] }, []],
  ['P2WPKH', { outputs: [{ script: P2WPKH, sats: 10_000n }, announcing(), change] }, ['not-p2wsh']],
  ['9,999 sats', { outputs: [{ script: P2WSH, sats: 9_999n }, announcing(), change] }, ['too-small']],
  ...(
    [
      [CONF_HEIGHT - 1, ['lock-range']],
      [CONF_HEIGHT, ['lock-range']],
      [CONF_HEIGHT + 12_959, ['lock-range']],
      [CONF_HEIGHT + 12_960, []],
      [CONF_HEIGHT + 25_920, []],
      [CONF_HEIGHT + 25_921, ['lock-range']],
    ] as const
  ).map(([lock, refusals]): [string, Plan, string[]] => [
    `lock height ${lock}`,
    withOutput1(announcing(`${LABEL}#${lock}`)),
    [...refusals],
  ]),
]

for (const [what, plan, refusals] of VECTORS) {
  test(`what differs: ${what}`, () => {
    const tx = aTransaction(plan)
    assert.deepEqual(refusalsOf(tx), refusals)
    assert.equal(oracleOf(tx).refusals.length === 0, refusals?.length === 0)
  })
}

test('every code is met by itself, and they come in one order', () => {
  const met = new Set(VECTORS.flatMap(([, , refusals]) => refusals ?? []))
  assert.deepEqual(
    TODAY_REFUSALS.filter((code) => !met.has(code)),
    ['unconfirmed', 'unread'],
  )
  for (const [, , refusals] of VECTORS) {
    assert.deepEqual(refusals, refusals && TODAY_REFUSALS.filter((code) => refusals.includes(code)))
  }
  assert.deepEqual(TODAY_REFUSALS.slice(0, TX_REFUSALS.length), TX_REFUSALS)
})

test('the transaction is judged whole, also where nothing of it is an announcement of ours', () => {
  const zero = aTransaction(withOutput1(announcing(`${LABEL}#0${LOCK_HEIGHT}`)))
  assert.deepEqual(txRefusalsOf(zero, 1), ['leading-zero'])
  assert.deepEqual(txRefusalsOf(aTransaction({ lockTime: 0 }), 1), ['locktime-kind'])
  assert.deepEqual(txRefusalsOf(aTransaction(withOutput1(push(length, '00'))), 1), ['push'])
  assert.deepEqual(txRefusalsOf(aTransaction({ outputs: [bondOutput] }), 0), ['outputs', 'announcement-place'])
  assert.deepEqual(txRefusalsOf(aTransaction(withOutput1(announcing(`${LABEL}#4294967296`))), 1), ['text-format'])
})

test('in the mempool its lock is not judged; what was never read is not taken', () => {
  const far = aTransaction(withOutput1(announcing(`${LABEL}#1`)))
  const announced = findAnnouncement(far, { allowTestAddresses: false })!
  assert.deepEqual(todayRefusalsOf(announced, 'main'), ['unconfirmed'])
  const { txRefusals: _, ...unread } = findAnnouncement(aTransaction(), { allowTestAddresses: false })!
  assert.deepEqual(todayRefusalsOf(confirmed(unread, CONF_HEIGHT), 'main'), ['unread'])
  assert.deepEqual(todayRefusalsOf({ ...unread, amountSats: asSats(1) }, 'main'), [
    'too-small',
    'unconfirmed',
    'unread',
  ])
  assert.equal(isTakenToday(confirmed(unread, CONF_HEIGHT), 'main'), false)
})

test('on regtest locks of 1 to 25,920 blocks are taken', () => {
  for (const [blocks, refusals] of [
    [0, ['lock-range']],
    [1, []],
    [25_920, []],
    [25_921, ['lock-range']],
  ] as const) {
    const tx = aTransaction(withOutput1(announcing(`${LABEL}#${CONF_HEIGHT + blocks}`)))
    assert.deepEqual(refusalsOf(tx, CONF_HEIGHT, 'regtest'), refusals)
  }
})

test('a test address is no name of today', () => {
  const tx = aTransaction(withOutput1(announcing(`127.0.0.1:6102#${LOCK_HEIGHT}`)))
  assert.deepEqual(findAnnouncement(tx, { allowTestAddresses: true })?.txRefusals, ['text-format'])
})

function oracleOf(tx: Transaction) {
  const verbose: VerboseTransaction = {
    locktime: tx.locktime,
    vin: tx.ins.map(({ sequence }) => ({ sequence })),
    vout: tx.outs.map(({ value, script }) => ({
      value: Number(value) / 1e8,
      scriptPubKey: { hex: Buffer.from(script).toString('hex') },
    })),
  }
  return judgeTransaction(verbose, CONF_HEIGHT, CONF_HEIGHT)
}

test('of random transactions exactly those are taken that the rules written anew accept, with the same maker and lock', () => {
  const height = fc.oneof(
    fc.integer({ min: CONF_HEIGHT + 12_000, max: CONF_HEIGHT + 26_000 }),
    fc.constantFrom(0, 1, LOCK_HEIGHT, CONF_HEIGHT + 12_959, CONF_HEIGHT + 12_960, 4_294_967_295, 4_294_967_296),
  )
  const name = fc.constantFrom(
    LABEL,
    LABEL,
    LABEL,
    LABEL,
    LABEL,
    LABEL,
    HOST,
    `${HOST}:6102`,
    LABEL.toUpperCase(),
    `a${LABEL.slice(1)}`,
  )
  const zeros = fc.constantFrom('', '', '', '', '', '', '0', '+', '00')
  const text = fc.oneof(
    { weight: 12, arbitrary: fc.tuple(name, zeros, height).map(([host, zero, lock]) => `${host}#${zero}${lock}`) },
    { weight: 1, arbitrary: fc.string({ maxLength: 70 }) },
  )
  const head = (bytes: Buffer) =>
    fc.constantFrom([bytes.length], [bytes.length], [bytes.length], [0x4c, bytes.length], [0x4d, bytes.length, 0])
  const opReturn = text.chain((words) => {
    const bytes = Buffer.from(words, 'latin1').subarray(0, 75)
    const tail = fc.constantFrom('', '', '', '00')
    return fc
      .tuple(head(bytes), tail)
      .map(([opcode, after]) => Buffer.concat([Buffer.of(0x6a, ...opcode), bytes, Buffer.from(after, 'hex')]))
  })
  const sats = fc.constantFrom(0n, 0n, 1n, 9_999n, 10_000n, 5_000_000n)
  const output = fc.record({ script: fc.oneof(opReturn, fc.constantFrom(P2WSH, P2TR, P2WPKH)), sats })
  const first = fc.oneof({ weight: 5, arbitrary: fc.constant(bondOutput) }, { weight: 1, arbitrary: output })
  const second = fc.oneof(
    { weight: 5, arbitrary: opReturn.map((script) => ({ script, sats: 0n })) },
    { weight: 1, arbitrary: output },
  )
  const lockTime = fc.constantFrom(CONF_HEIGHT, CONF_HEIGHT, CONF_HEIGHT, 1, 0, 499_999_999, 500_000_000)
  const sequences = fc.array(fc.constantFrom(0, 0xfffffffe, 0xffffffff, 0), { minLength: 1, maxLength: 3 })
  const plan = fc.tuple(
    first,
    second,
    fc.oneof(fc.array(output, { maxLength: 1 }), fc.array(output, { maxLength: 4 })),
    lockTime,
    sequences,
  )
  let taken = 0
  fc.assert(
    fc.property(plan, ([bond, announcement, more, lock, inputs]) => {
      const tx = aTransaction({ outputs: [bond, announcement, ...more], lockTime: lock, sequences: inputs })
      const oracle = oracleOf(tx)
      const announced = findAnnouncement(tx, { allowTestAddresses: false })
      const isTaken = announced !== undefined && isTakenToday(confirmed(announced, CONF_HEIGHT), 'main')
      assert.equal(isTaken, oracle.refusals.length === 0, oracle.refusals.join(' '))
      if (!isTaken) return
      taken++
      assert.deepEqual([announced.address, announced.lockHeight], [`${oracle.host}:21`, oracle.lockHeight])
    }),
    { numRuns: 5_000 },
  )
  assert.ok(taken > 50, `only ${taken} were taken: the test says little`)
})

/** The far ends' own reading of a bond's transaction, against the table of docs/nostr.md, row by row and for both eras. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type JudgeOptions,
  judgeTransaction,
  onionFault,
  type VerboseTransaction,
} from '../../sandbox/nostr/taker-rules.ts'
import { onionHost } from '../../support/onions.ts'

const HOST = onionHost('taker-rules').replace('.onion', '')
const CONF_HEIGHT = 176
const TIP_HEIGHT = 200
const TEXT = `${HOST}#15175`

const push = (text: string) => `6a${Buffer.from([text.length]).toString('hex')}${Buffer.from(text).toString('hex')}`

/** As a production maker's bond was seen to be: three outputs, the announcement second. */
function aBond({ text = TEXT, script = push(text) } = {}): VerboseTransaction {
  return {
    locktime: 176,
    vin: [{ sequence: 0 }],
    vout: [
      { value: 0.0005, scriptPubKey: { hex: `0020${'ab'.repeat(32)}` } },
      { value: 0, scriptPubKey: { hex: script } },
      { value: 1.5, scriptPubKey: { hex: `5120${'cd'.repeat(32)}` } },
    ],
  }
}

type Row = [what: string, transaction: VerboseTransaction, today: string, b5fade03: string]

const [, announcement] = aBond().vout
const change = aBond().vout[2]!
const flipped = `${HOST.slice(0, 10)}${HOST[10] === 'a' ? 'b' : 'a'}${HOST.slice(11)}`

const ROWS: Row[] = [
  ['a maker’s', aBond(), '', ''],
  ['two outputs', { ...aBond(), vout: aBond().vout.slice(0, 2) }, '', ''],
  ['four outputs', { ...aBond(), vout: [...aBond().vout, change] }, 'outputs', ''],
  ['six outputs', { ...aBond(), vout: [...aBond().vout, change, change, change] }, 'outputs', 'outputs'],
  ['announced in output 2', { ...aBond(), vout: [aBond().vout[0]!, change, announcement!] }, 'no-announcement', ''],
  [
    'an announcement with value',
    { ...aBond(), vout: [aBond().vout[0]!, { ...announcement!, value: 1e-8 }] },
    'announcement-value no-announcement',
    '',
  ],
  ['PUSHDATA1', aBond({ script: push(TEXT).replace('6a', '6a4c') }), 'no-announcement', ''],
  ['PUSHDATA2', aBond({ script: push(TEXT).replace(/^6a(..)/, '6a4d$100') }), 'no-announcement', ''],
  ['bytes after the push', aBond({ script: `${push(TEXT)}51` }), 'no-announcement', ''],
  [
    'a push that the script cuts short',
    aBond({ script: push(TEXT).slice(0, -2) }),
    'no-announcement',
    'no-announcement',
  ],
  ['67 bytes', aBond({ text: `${HOST}#1517500000` }), 'lock-range', ''],
  [
    '67 bytes with .onion',
    aBond({ text: `${HOST}.onion#1517` }),
    'onion: not 56 lower-case base32 characters no-announcement',
    '',
  ],
  [
    'host:port#height, over 67 bytes',
    aBond({ text: `${HOST}.onion:6102#15175` }),
    'no-announcement',
    'no-announcement',
  ],
  ['upper case', aBond({ text: TEXT.toUpperCase() }), 'onion: not 56 lower-case base32 characters no-announcement', ''],
  ['a letter changed', aBond({ text: `${flipped}#15175` }), 'onion: onion checksum is wrong no-announcement', ''],
  ['a leading zero', aBond({ text: `${HOST}#015175` }), 'no-announcement', ''],
  ['a sign', aBond({ text: `${HOST}#+15175` }), 'no-announcement', ''],
  ['a height over 32 bits', aBond({ text: `${HOST}#4294967296` }), 'no-announcement', 'no-announcement'],
  [
    'not P2WSH',
    { ...aBond(), vout: [{ value: 1, scriptPubKey: { hex: `0014${'ab'.repeat(20)}` } }, announcement!] },
    'not-p2wsh',
    '',
  ],
  ['9,999 sats', { ...aBond(), vout: [{ ...aBond().vout[0]!, value: 0.00009999 }, announcement!] }, 'too-small', ''],
  ['nLockTime 0', { ...aBond(), locktime: 0 }, 'nlocktime', 'nlocktime'],
  ['nLockTime a time', { ...aBond(), locktime: 1_795_000_000 }, 'nlocktime', ''],
  [
    'all sequences final',
    { ...aBond(), vin: [{ sequence: 0xffff_ffff }, { sequence: 0xffff_ffff }] },
    'sequences-final',
    '',
  ],
  ['one sequence final', { ...aBond(), vin: [{ sequence: 0xffff_ffff }, { sequence: 0xffff_fffe }] }, '', ''],
  ['locked for 12,960 blocks', aBond({ text: `${HOST}#${CONF_HEIGHT + 12_960}` }), '', ''],
  ['locked for 12,959 blocks', aBond({ text: `${HOST}#${CONF_HEIGHT + 12_959}` }), 'lock-range', ''],
  ['locked for 25,920 blocks', aBond({ text: `${HOST}#${CONF_HEIGHT + 25_920}` }), '', ''],
  ['locked for 25,921 blocks', aBond({ text: `${HOST}#${CONF_HEIGHT + 25_921}` }), 'lock-range', ''],
]

const refusals = (transaction: VerboseTransaction, options: JudgeOptions) =>
  judgeTransaction(transaction, CONF_HEIGHT, TIP_HEIGHT, options).refusals.join(' ')

for (const [what, transaction, today, b5fade03] of ROWS)
  test(`a taker and a bond’s transaction: ${what}`, () => {
    assert.equal(refusals(transaction, { era: 'today' }), today)
    assert.equal(refusals(transaction, { era: 'b5fade03' }), b5fade03)
  })

test('a lock that ends with the tip has passed, one that ends with the next block has not', () => {
  const judged = (lockHeight: number) =>
    judgeTransaction(aBond({ text: `${HOST}#${lockHeight}` }), CONF_HEIGHT, TIP_HEIGHT, { lockRange: [1, 25_920] })
  assert.deepEqual(judged(TIP_HEIGHT).refusals, ['lock-passed'])
  assert.deepEqual(judged(TIP_HEIGHT + 1), { refusals: [], host: `${HOST}.onion`, lockHeight: TIP_HEIGHT + 1 })
})

test('an onion name: its version and its checksum count', () => {
  assert.equal(onionFault(HOST), undefined)
  assert.equal(onionFault(`${HOST.slice(0, 55)}a`), 'onion version is not 3')
  assert.equal(onionFault(flipped), 'onion checksum is wrong')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import fc from 'fast-check'
import {
  announcementScript,
  findAnnouncement,
  formatAnnouncement,
  parseAnnouncementScript,
  parseAnnouncementText,
} from '../../../src/bonds/announcement.ts'

const LABEL = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd'
const strict = { allowTestAddresses: false }
const lax = { allowTestAddresses: true }
const read = (text: string, options = strict) => parseAnnouncementText(text, options)

/** Output scripts as the Rust programs make them. */
const SCRIPTS: [string, string, object][] = [
  ['A', `6a43${hex(`${LABEL}.onion:6102`)}`, { format: 'A', address: `${LABEL}.onion:6102` }],
  [
    'B',
    `6a4a${hex(`${LABEL}.onion:6102#913104`)}`,
    { format: 'B', address: `${LABEL}.onion:6102`, lockHeight: 913_104 },
  ],
  [
    'B by PUSHDATA1',
    `6a4c4c${hex(`${LABEL}.onion:16102#1913104`)}`,
    { format: 'B', address: `${LABEL}.onion:16102`, lockHeight: 1_913_104 },
  ],
  ['C', `6a45${hex(`${LABEL}.onion#913104`)}`, { format: 'C', address: `${LABEL}.onion:21`, lockHeight: 913_104 }],
  ['D', `6a3f${hex(`${LABEL}#915000`)}`, { format: 'D', address: `${LABEL}.onion:21`, lockHeight: 915_000 }],
  [
    'D by PUSHDATA2',
    `6a4d3f00${hex(`${LABEL}#915000`)}`,
    { format: 'D', address: `${LABEL}.onion:21`, lockHeight: 915_000 },
  ],
]

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex')
}

for (const [name, script, expected] of SCRIPTS) {
  test(`format ${name} is read from its output script`, () => {
    assert.deepEqual(parseAnnouncementScript(Buffer.from(script, 'hex'), strict), expected)
  })
}

test('the literal script of a format D maker of today', () => {
  const script =
    '6a3f3474626e69706a7a6b716e7868686b64646f6966676c33727579726278336e7274656f6e626c6370743470366d356d3332347678343679642339313530' +
    '3030'
  assert.equal(parseAnnouncementScript(Buffer.from(script, 'hex'), strict)?.lockHeight, 915_000)
})

test('what is written is read again, and pushed as the Rust programs push it', () => {
  for (const [, script, expected] of SCRIPTS.slice(0, 5)) {
    const text = formatAnnouncement(expected as never)
    assert.equal(announcementScript(text).toString('hex'), script)
  }
})

test('a script with anything but one whole push is no announcement', () => {
  const good = Buffer.from(SCRIPTS[4]![1], 'hex')
  for (let cut = 0; cut < good.length; cut++)
    assert.equal(parseAnnouncementScript(good.subarray(0, cut), strict), undefined)
  assert.equal(parseAnnouncementScript(Buffer.concat([good, Buffer.of(0)]), strict), undefined, 'a byte after the push')
  assert.equal(parseAnnouncementScript(Buffer.concat([Buffer.of(0x6b), good.subarray(1)]), strict), undefined)
})

test('texts that are nearly an announcement', () => {
  const near = [
    LABEL,
    `${LABEL}.onion`,
    `${LABEL}.onion:`,
    `${LABEL}.onion:0`,
    `${LABEL}.onion:65536`,
    `${LABEL}.onion:06102`,
    `${LABEL}.onion:+6102`,
    `${LABEL}.onion:6102 `,
    ` ${LABEL}.onion:6102`,
    `${LABEL}.onion:6102:6102`,
    `${LABEL}.onion:6102#`,
    `${LABEL}.onion:6102#+913104`,
    `${LABEL}.onion:6102#0913104`,
    `${LABEL}.onion:6102#913104#1`,
    `${LABEL}.onion:6102#913104\n`,
    `${LABEL}.onion:6102#4294967296`,
    `${LABEL}:6102`,
    `${LABEL}#`,
    `${LABEL}##915000`,
    `${LABEL}.onionn#915000`,
    `${LABEL.toUpperCase()}#915000`,
    `${LABEL.slice(1)}#915000`,
    `a${LABEL}#915000`,
    `5${LABEL.slice(1)}#915000`,
    '127.0.0.1:6102',
    '127.0.0.1:6102#1051',
    'x.onion:1',
  ]
  for (const text of near) assert.equal(read(text), undefined, JSON.stringify(text))
  assert.equal(read(`${LABEL}.onion:6102#4294967295`)?.lockHeight, 0xffffffff)
  assert.equal(read(`${LABEL}.onion:65535`)?.address, `${LABEL}.onion:65535`)
})

test('test addresses count only where they are allowed', () => {
  assert.deepEqual(read('127.0.0.1:6102', lax), { format: 'A', address: '127.0.0.1:6102' })
  assert.deepEqual(read('127.0.0.1:6102#1051', lax), { format: 'B', address: '127.0.0.1:6102', lockHeight: 1051 })
  assert.equal(read('127.0.0.2:6102', lax), undefined)
  assert.equal(read('127.0.0.1#1051', lax), undefined)
})

function funding(change: { lockTime?: number; scripts: Buffer[]; sats?: bigint }): Transaction {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = change.lockTime ?? 900_000
  tx.addInput(Buffer.alloc(32, 1), 0, 0)
  for (const [i, script] of change.scripts.entries()) tx.addOutput(script, i === 0 ? (change.sats ?? 10_000n) : 0n)
  return tx
}
const P2WSH = Buffer.concat([Buffer.of(0, 32), Buffer.alloc(32, 7)])
const ANNOUNCED = announcementScript(`${LABEL}#915000`)
const OTHER = announcementScript(`${LABEL}.onion:6102`)

test('a transaction announces with a lock time, two to five outputs, and the first output that reads so', () => {
  const found = findAnnouncement(funding({ scripts: [P2WSH, ANNOUNCED] }), strict)
  assert.deepEqual(
    { ...found, outpoint: found?.outpoint.vout },
    { format: 'D', address: `${LABEL}.onion:21`, lockHeight: 915_000, outpoint: 0, amountSats: 10_000, isP2wsh: true },
  )
  assert.equal(found?.outpoint.txid, funding({ scripts: [P2WSH, ANNOUNCED] }).getId())
  const formatOf = (change: Parameters<typeof funding>[0]) => findAnnouncement(funding(change), strict)?.format
  assert.equal(formatOf({ scripts: [P2WSH, ANNOUNCED], lockTime: 0 }), undefined)
  assert.equal(formatOf({ scripts: [P2WSH, ANNOUNCED], lockTime: 1_700_000_000 }), 'D', 'a time is a lock time too')
  assert.equal(formatOf({ scripts: [ANNOUNCED] }), undefined)
  assert.equal(formatOf({ scripts: [P2WSH, P2WSH, P2WSH, P2WSH, ANNOUNCED] }), 'D')
  assert.equal(formatOf({ scripts: [P2WSH, P2WSH, P2WSH, P2WSH, P2WSH, ANNOUNCED] }), undefined)
  assert.equal(formatOf({ scripts: [P2WSH, OTHER, ANNOUNCED] }), 'A', 'the first that reads')
  assert.equal(formatOf({ scripts: [P2WSH, announcementScript('nothing'), ANNOUNCED] }), 'D')
  assert.equal(
    findAnnouncement(funding({ scripts: [ANNOUNCED, P2WSH] }), strict)?.isP2wsh,
    false,
    'output 0 is the bond',
  )
  const big = findAnnouncement(funding({ scripts: [P2WSH, ANNOUNCED], sats: 2_100_000_000_000_000n }), strict)
  assert.equal(big?.amountSats, 2_100_000_000_000_000, 'all coins there are')
})

test('no script makes the reader throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      parseAnnouncementScript(bytes, lax)
      parseAnnouncementScript(Uint8Array.of(0x6a, ...bytes), lax)
    }),
  )
})

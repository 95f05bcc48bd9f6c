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

test('the published scripts, byte for byte', () => {
  const label =
    '3474626e69706a7a6b716e7868686b64646f6966676c33727579726278336e7274656f6e626c6370743470366d356d333234767834367964'
  const published: [string, string, string, number | undefined][] = [
    ['A', `6a43${label}2e6f6e696f6e3a36313032`, `${LABEL}.onion:6102`, undefined],
    ['B', `6a4a${label}2e6f6e696f6e3a3631303223393133313034`, `${LABEL}.onion:6102`, 913_104],
    ['B', `6a4c4c${label}2e6f6e696f6e3a31363130322331393133313034`, `${LABEL}.onion:16102`, 1_913_104],
    ['C', `6a45${label}2e6f6e696f6e23393133313034`, `${LABEL}.onion:21`, 913_104],
    ['D', `6a3f${label}23393135303030`, `${LABEL}.onion:21`, 915_000],
    ['B', '6a133132372e302e302e313a363130322331303531', '127.0.0.1:6102', 1051],
  ]
  for (const [format, script, address, lockHeight] of published) {
    const found = parseAnnouncementScript(Buffer.from(script, 'hex'), lax)
    assert.deepEqual([found?.format, found?.address, found?.lockHeight], [format, address, lockHeight])
  }
})

test('what is written is read again, and pushed as the Rust programs push it', () => {
  for (const [, script, expected] of SCRIPTS.slice(0, 5)) {
    const text = formatAnnouncement(expected as never)
    assert.equal(announcementScript(text).toString('hex'), script)
  }
})

test('leading zeros of a height are read, as takers have read them, and mean nothing', () => {
  for (const zeros of ['0', '00', '0'.repeat(12)]) {
    const found = parseAnnouncementText(`${LABEL}#${zeros}913104`, strict)
    assert.deepEqual(found, { format: 'D', address: `${LABEL}.onion:21`, lockHeight: 913_104 })
  }
  assert.equal(parseAnnouncementText(`${LABEL}#00`, strict)?.lockHeight, 0)
  assert.equal(parseAnnouncementText(`${LABEL}#04294967296`, strict), undefined, 'no u32')
})

test('a script with anything but one whole push is no announcement', () => {
  const good = Buffer.from(SCRIPTS[4]![1], 'hex')
  for (let cut = 0; cut < good.length; cut++)
    assert.equal(parseAnnouncementScript(good.subarray(0, cut), strict), undefined)
  assert.equal(parseAnnouncementScript(Buffer.concat([good, Buffer.of(0)]), strict), undefined, 'a byte after the push')
  assert.equal(parseAnnouncementScript(Buffer.concat([Buffer.of(0x6b), good.subarray(1)]), strict), undefined)
  const text = good.subarray(2)
  const under = (...head: number[]) => parseAnnouncementScript(Buffer.concat([Buffer.of(0x6a, ...head), text]), strict)
  assert.equal(under(0x3f)?.format, 'D')
  assert.equal(under(0x4c, 0x3f)?.format, 'D', 'a longer push than needed is one push too')
  assert.equal(under(0x4e, 0x3f, 0, 0, 0), undefined, 'PUSHDATA4')
  assert.equal(under(0x3e), undefined, 'a push of one byte less')
  assert.equal(under(0x40), undefined, 'a push of one byte more')
  assert.equal(under(0x4d, 0x00, 0x3f), undefined, 'the length is little endian')
  assert.equal(under(0x4d, 0x3f, 0x01), undefined, 'both bytes of it count')
  assert.equal(under(0x00, 0x3f), undefined, 'an empty push first')
  assert.equal(parseAnnouncementScript(Buffer.of(0x6a, 0x51), strict), undefined, 'a number is no text')
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
    `${LABEL}.onion:06102#913104`,
    `${LABEL}.onion:6102#913104#1`,
    `${LABEL}.onion:6102#913104\n`,
    `${LABEL}.onion:6102#4294967296`,
    `${LABEL}.onion:6102#-1`,
    `${LABEL}.onion:6102#0x10`,
    `${LABEL}.onion:6102#1e5`,
    `${LABEL}.onion:6102# 913104`,
    `${LABEL}.onion:6102\0`,
    `${LABEL}.onion:6102#９13104`,
    `${LABEL}.onion:-1`,
    `${LABEL}.onion:61o2`,
    `${LABEL}.onion:6102/`,
    `${LABEL}..onion:6102`,
    `${LABEL}.ONION:6102`,
    `${LABEL}.exit:6102`,
    `www.${LABEL}.onion:6102`,
    `${LABEL}.#915000`,
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
    {
      format: 'D',
      address: `${LABEL}.onion:21`,
      lockHeight: 915_000,
      outpoint: 0,
      amountSats: 10_000,
      isP2wsh: true,
      txRefusals: [],
    },
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
  for (const sats of [2_100_000_000_000_001n, 2n ** 53n, 2n ** 63n - 1n, -1n, -(2n ** 63n)]) {
    const lie = funding({ scripts: [P2WSH, ANNOUNCED] })
    lie.outs[0]!.value = sats
    assert.equal(findAnnouncement(lie, strict), undefined, 'more than there are, or a debt')
  }
})

test('only OP_0 and 32 bytes is P2WSH', () => {
  const isP2wsh = (script: Buffer) => findAnnouncement(funding({ scripts: [script, ANNOUNCED] }), strict)?.isP2wsh
  const witness = (version: number, length: number) =>
    Buffer.concat([Buffer.of(version, length), Buffer.alloc(length, 7)])
  assert.equal(isP2wsh(witness(0x00, 32)), true)
  assert.equal(isP2wsh(witness(0x00, 20)), false, 'P2WPKH')
  assert.equal(isP2wsh(witness(0x51, 32)), false, 'P2TR')
  assert.equal(isP2wsh(witness(0x00, 31)), false)
  assert.equal(isP2wsh(witness(0x00, 33)), false)
  assert.equal(isP2wsh(Buffer.concat([Buffer.of(0x00, 0x1f), Buffer.alloc(32, 7)])), false, 'another push length')
  assert.equal(isP2wsh(Buffer.concat([witness(0x00, 32), Buffer.of(0)])), false, 'a byte after the program')
  assert.equal(isP2wsh(Buffer.concat([Buffer.of(0x4c, 0x20), Buffer.alloc(32, 7)])), false)
  assert.equal(isP2wsh(Buffer.alloc(0)), false)
})

test('no script and no transaction makes the readers throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 0xffffffff }), (bytes, lockTime) => {
      const opReturn = Buffer.from(Uint8Array.of(0x6a, ...bytes))
      const pushed = announcementScript(Buffer.from(bytes).toString('latin1'))
      for (const script of [bytes, opReturn, pushed]) parseAnnouncementScript(script, lax)
      findAnnouncement(funding({ scripts: [Buffer.from(bytes), opReturn, pushed], lockTime }), lax)
    }),
    { numRuns: 2_000 },
  )
})

test('a published announcement with one byte changed has another reading or none, and is never misread', () => {
  const good = Buffer.from(SCRIPTS[1]![1], 'hex')
  fc.assert(
    fc.property(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bent = Buffer.from(good)
      bent[at]! ^= flip
      const found = parseAnnouncementScript(bent, strict)
      const text = bent
        .subarray(2)
        .toString('latin1')
        .replace(/#0+(?=\d)/, '#')
      if (found) assert.equal(formatAnnouncement(found), text)
    }),
    { numRuns: 5_000 },
  )
})

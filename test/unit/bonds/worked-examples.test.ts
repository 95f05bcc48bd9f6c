/** The worked examples of docs/protocol.md are what the rules make of them, byte by byte. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import { findAnnouncement, parseAnnouncementScript } from '../../../src/bonds/announcement.ts'
import { digestOf } from '../../../src/bonds/digest.ts'
import { bondValue } from '../../../src/bonds/value.ts'
import { asBlockHash, asSats, asTxid } from '../../../src/chain/types.ts'

const page = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8')
const options = { allowTestAddresses: false }

/** The fenced block whose first line begins so, as fields: a name, and all that follows up to the next name. */
function example(firstWord: string): Record<string, string> {
  const block = [...page.matchAll(/^```\n([\s\S]*?)^```$/gm)].map(([, text]) => text!)
  const found = block.filter((text) => new RegExp(`^${firstWord} {2,}`).test(text))
  assert.equal(found.length, 1, firstWord)
  const fields = found[0]!.split(/^(?=\S)/m).map((field) => /^(\S+) +([\s\S]*)$/.exec(field)!)
  return Object.fromEntries(fields.map(([, name, value]) => [name, value!.replace(/\s+/g, ' ').trim()]))
}
const hex = (text: string | undefined) => Buffer.from(text!.replaceAll(' ', ''), 'hex')

const { tx, txid } = example('tx')
const announced = findAnnouncement(Transaction.fromBuffer(hex(tx)), options)!

test('announcements: four scripts, and a transaction with one of them', () => {
  const scripts = example('A')
  assert.deepEqual(Object.keys(scripts), ['A', 'B', 'C', 'D'])
  const host = /^are the scripts of `([a-z2-7]{56})`, with port 6102/m.exec(page)![1]!
  for (const [format, script] of Object.entries(scripts)) {
    const port = format === 'A' || format === 'B' ? 6102 : 21
    const lock = format === 'A' ? {} : { lockHeight: 915_000 }
    const expected = { format, address: `${host}.onion:${port}`, ...lock }
    assert.deepEqual(parseAnnouncementScript(hex(script), options), expected)
  }
  assert.equal(announced.outpoint.txid, txid)
  assert.deepEqual(announced.txRefusals, [], 'takers of today accept it')
  const { format, address, lockHeight, amountSats, isP2wsh } = announced
  assert.deepEqual(
    [format, address, lockHeight, amountSats, isP2wsh],
    ['D', `${host}.onion:21`, 915_000, 5_000_000, true],
  )
})

const said = /confirmed in a block of time ([\d,]+), at a tip of height ([\d,]+) and time ([\d,]+):/.exec(page)!
const [confTimeS, height, timeS] = said.slice(1).map((number) => Number(number.replaceAll(',', '')))

test('value: of that bond, at the tip that is named', () => {
  const { V, L, a, value, 'V(a-b)': weighed } = example('V')
  assert.equal(Number(V), announced.amountSats)
  const lockUnixS = Number(L!.split('= ')[1])
  assert.equal(lockUnixS, timeS! + 600 * (announced.lockHeight! - height!))
  assert.equal(Number(a), Math.expm1((0.015 * (lockUnixS - confTimeS!)) / 31_556_952))
  assert.equal(Number(weighed), Number(V) * Number(a))
  const bond = { ...announced, confTimeS: confTimeS!, conf: { height: 900_001, hash: asBlockHash('00'.repeat(32)) } }
  assert.equal(Number(value), bondValue(bond, { hash: asBlockHash('00'.repeat(32)), height: height!, timeS: timeS! }))
})

test('digest: what is hashed, and of what', () => {
  const { hashed, digest, none } = example('hashed')
  assert.equal(createHash('sha256').update(hex(hashed)).digest('hex'), digest)
  const older = hex(hashed!.split(' ').at(5))
  const bonds = [
    { ...announced, conf: { height: 900_001 } },
    {
      outpoint: { txid: asTxid('00112233445566778899aabbccddeeff0123456789abcdef0011223344556677'), vout: 0 },
      address: hex(hashed!.split(' ')[6]).toString(),
      amountSats: asSats(50_000),
      conf: { height: 880_000 },
    },
  ]
  assert.equal(older.toString('hex'), '43', 'the length of the address')
  assert.equal(digestOf(bonds).toString('hex'), digest)
  assert.equal(digestOf([]).toString('hex'), none)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Block, Transaction } from 'bitcoinjs-lib'
import fc from 'fast-check'
import { announcementScript, findAnnouncement } from '../../../src/bonds/announcement.ts'
import {
  blockHashOf,
  findSpendersInBlock,
  inputsInBlock,
  inputsOf,
  MalformedError,
  outpointsSpentBy,
  scanBlock,
  scanTransaction,
} from '../../../src/chain/decode.ts'
import { keyBytes, mapKey, OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import { TrackedOutpoints } from '../../../src/chain/tracked.ts'
import { asTxid, formatOutpoint, fromInternal, type Outpoint } from '../../../src/chain/types.ts'

const keys = new OutpointKeys(Buffer.alloc(16, 9))
const LABEL = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd'

interface TxPlan {
  inputs: { hash: Uint8Array; index: number; witness: Uint8Array[]; script: Uint8Array }[]
  outputs: Uint8Array[]
  lockTime: number
}

function transaction({ inputs, outputs, lockTime }: TxPlan): Transaction {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = lockTime
  inputs.forEach(({ hash, index, witness, script }, i) => {
    tx.addInput(hash, index, 0xffffffff, script)
    if (witness.length > 0) tx.setWitness(i, witness)
  })
  for (const script of outputs) tx.addOutput(script, 1n)
  return tx
}

/** A serialized block; its header's merkle root is of no interest here. */
function block(transactions: Transaction[]): Buffer {
  const made = new Block()
  made.prevHash = Buffer.alloc(32, 3)
  made.merkleRoot = Buffer.alloc(32, 4)
  made.timestamp = 1_774_000_000
  made.bits = 0x207fffff
  made.nonce = 1
  made.transactions = transactions
  return Buffer.from(made.toBuffer())
}

const input = fc.record({
  hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  index: fc.nat(0xffffffff),
  witness: fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 3 }),
  script: fc.uint8Array({ maxLength: 300 }),
})
const plan: fc.Arbitrary<TxPlan> = fc.record({
  inputs: fc.array(input, { minLength: 1, maxLength: 4 }),
  outputs: fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(announcementScript(`${LABEL}#915000`))), {
    minLength: 1,
    maxLength: 7,
  }),
  lockTime: fc.constantFrom(0, 1, 900_000),
})
const coinbase = transaction({
  inputs: [{ hash: Buffer.alloc(32), index: 0xffffffff, witness: [Buffer.alloc(32)], script: Buffer.of(1, 2) }],
  outputs: [Buffer.of(0x51)],
  lockTime: 0,
})

function isAnnouncementLike({ script }: { script: Uint8Array }): boolean {
  if (script[0] !== 0x6a || script.length < 13 || script.length > 83) return false
  const textAt = script[1]! < 0x4c ? 2 : script[1] === 0x4c ? 3 : 4
  return /^[0-9a-z.:#]*$/.test(Buffer.from(script.subarray(textAt)).toString('latin1'))
}

test('the walker sees what bitcoinjs-lib sees: spent outpoints, candidates, spenders', () => {
  fc.assert(
    fc.property(fc.array(plan, { maxLength: 6 }), (plans) => {
      const transactions = plans.map(transaction)
      const raw = block([coinbase, ...transactions])
      const scanned = scanBlock(raw, blockHashOf(raw), keys)
      assert.equal(scanned.transactions, transactions.length + 1)
      assert.equal(scanned.timeS, 1_774_000_000)
      assert.equal(scanned.prevHash, '03'.repeat(32))

      const spent: Outpoint[] = transactions.flatMap((tx) =>
        tx.ins.map(({ hash, index }) => ({ txid: asTxid(fromInternal(hash)), vout: index })),
      )
      const expected = spent.map((outpoint) => keyBytes(keys.of(outpoint)).toString('hex')).sort()
      const words = scanned.spent
      const got = Array.from({ length: words.length / 2 }, (_, i) =>
        keyBytes({ hi: words[2 * i]!, lo: words[2 * i + 1]! }).toString('hex'),
      )
      assert.deepEqual([...got].sort(), expected)

      const candidates = transactions.filter(
        (tx) => tx.locktime !== 0 && tx.outs.length >= 2 && tx.outs.length <= 5 && tx.outs.some(isAnnouncementLike),
      )
      assert.deepEqual(
        scanned.candidates.map((bytes) => Buffer.from(bytes).toString('hex')),
        candidates.map((tx) => tx.toHex()),
      )
      assert.equal(scanned.txids, undefined)
      const { txids } = scanBlock(raw, blockHashOf(raw), keys, { withTxids: true })
      assert.deepEqual(
        [coinbase, ...transactions].map((_, i) => fromInternal(txids!.subarray(32 * i, 32 * i + 32))),
        [coinbase, ...transactions].map((tx) => tx.getId()),
      )
      const unique = [...new Map(spent.map((outpoint) => [formatOutpoint(outpoint), outpoint])).values()]
      const nobodys = { txid: asTxid('ab'.repeat(32)), vout: 0 }
      const spenders = findSpendersInBlock(raw, [nobodys, ...unique])
      assert.equal(spenders.shift(), undefined)
      for (const [i, outpoint] of unique.entries()) {
        const by = spenders[i]!
        const tx = transactions.findLast(({ ins }) =>
          ins.some(({ hash, index }) => fromInternal(hash) === outpoint.txid && index === outpoint.vout),
        )
        assert.ok(by && tx)
        assert.equal(Transaction.fromBuffer(by.rawTx).getId(), by.txid)
        assert.deepEqual(inputsOf(by.rawTx, [outpoint]), [by.vin])
      }
      // Those of every other key of the scan, and one beyond the last.
      const places = [...spent.keys(), spent.length].filter((place) => place % 2 === spent.length % 2)
      for (const [i, input] of inputsInBlock(raw, places).entries()) {
        assert.deepEqual(input?.outpoint, spent[places[i]!])
        if (!input) continue
        const { by } = input
        assert.equal(Transaction.fromBuffer(by.rawTx).getId(), by.txid)
        assert.deepEqual(outpointsSpentBy(by.rawTx, [by.vin, 1_000]), [input.outpoint, undefined])
        const { hi, lo } = keys.of(input.outpoint)
        assert.deepEqual([hi, lo], [...words.subarray(2 * places[i]!, 2 * places[i]! + 2)])
      }
    }),
    { numRuns: 60 },
  )
})

test('every announcement is a candidate, however it is pushed; other text and noise are not', () => {
  const isCandidate = (script: Uint8Array) => {
    const tx = transaction({
      inputs: [{ hash: Buffer.alloc(32, 1), index: 0, witness: [], script: Buffer.of() }],
      outputs: [Buffer.of(0x51), script],
      lockTime: 1,
    })
    const options = { allowTestAddresses: true }
    const isAnnouncement = findAnnouncement(tx, options) !== undefined
    const { candidate } = scanTransaction(asTxid(tx.getId()), Buffer.from(tx.toBuffer()), keys)
    assert.ok(candidate !== undefined || !isAnnouncement, Buffer.from(script).toString('hex'))
    return candidate !== undefined
  }
  const texts = ['127.0.0.1:1', '127.0.0.1:65535#4294967295', `${LABEL}#1`, `${LABEL}.onion#915000`]
  for (const text of [...texts, `${LABEL}.onion:65535`, `${LABEL}.onion:1#04294967295`]) {
    const data = Buffer.from(text)
    const pushes = [[data.length], [0x4c, data.length], [0x4d, data.length, 0]]
    for (const push of pushes) isCandidate(Buffer.concat([Buffer.of(0x6a, ...push), data]))
    assert.ok(isCandidate(announcementScript(text)), text)
  }
  for (const text of ['=:BTC.BTC:bc1qexampleexample', 'Some words that mean nothing', `${LABEL.toUpperCase()}#1`]) {
    assert.equal(isCandidate(announcementScript(text)), false, text)
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 90 }), (noise) => void isCandidate(Buffer.of(0x6a, ...noise))))
})

test('a block cut short, with a byte too many, or of another hash is refused', () => {
  const tx = transaction({
    inputs: [{ hash: Buffer.alloc(32, 5), index: 1, witness: [Buffer.alloc(70)], script: Buffer.alloc(0) }],
    outputs: [Buffer.alloc(22)],
    lockTime: 0,
  })
  const raw = block([coinbase, tx, tx])
  const hash = blockHashOf(raw)
  for (let cut = 0; cut < raw.length; cut++) {
    assert.throws(() => scanBlock(raw.subarray(0, cut), hash, keys), MalformedError, `cut at ${cut}`)
  }
  assert.throws(() => scanBlock(Buffer.concat([raw, Buffer.of(0)]), hash, keys), /1 bytes after/)
  const other = Buffer.from(raw)
  other[70]! ^= 1
  assert.throws(() => scanBlock(other, hash, keys), /header hashes to/)
  const bytes = Buffer.from(tx.toBuffer())
  for (let cut = 0; cut < bytes.length; cut++) {
    assert.throws(() => scanTransaction(asTxid(tx.getId()), bytes.subarray(0, cut), keys), MalformedError)
  }
})

test('random bytes after a header never give anything but MalformedError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 81, maxLength: 400 }), (bytes) => {
      const raw = Buffer.from(bytes)
      try {
        scanBlock(raw, blockHashOf(raw), keys)
      } catch (error) {
        assert.ok(error instanceof MalformedError, String(error))
      }
    }),
  )
})

test('keys depend on every byte of the outpoint and on the salt', () => {
  const base: Outpoint = { txid: asTxid('00'.repeat(32)), vout: 0 }
  const seen = new Set<string>()
  const note = (outpoint: Outpoint, with_ = keys) => seen.add(keyBytes(with_.of(outpoint)).toString('hex'))
  note(base)
  for (let bit = 0; bit < 256; bit++) {
    const bytes = Buffer.alloc(32)
    bytes[bit >> 3]! |= 1 << (bit & 7)
    note({ txid: asTxid(bytes.toString('hex')), vout: 0 })
  }
  for (let bit = 0; bit < 32; bit++) note({ ...base, vout: 2 ** bit })
  note(base, new OutpointKeys(Buffer.alloc(16, 10)))
  assert.equal(seen.size, 1 + 256 + 32 + 1)
})

test('tracked outpoints are found by key, added and removed one by one', () => {
  const tracked = new TrackedOutpoints(keys)
  const a: Outpoint = { txid: asTxid('aa'.repeat(32)), vout: 0 }
  const b: Outpoint = { txid: asTxid('aa'.repeat(32)), vout: 1 }
  const hits = (...outpoints: Outpoint[]) => {
    const found: Outpoint[] = []
    const words = outpoints.flatMap((outpoint) => [keys.of(outpoint).hi, keys.of(outpoint).lo])
    tracked.hits(Uint32Array.from(words), (index) => found.push(outpoints[index]!))
    return found
  }
  const before = tracked.revision
  tracked.add(a, 'bond')
  tracked.add({ ...a }, 'bond')
  assert.equal(tracked.revision, before + 1, 'the same outpoint twice is one')
  assert.deepEqual(hits(b, a), [a])
  tracked.add(b, 'asked')
  tracked.add(a, 'asked')
  tracked.remove(a, 'bond')
  assert.deepEqual(hits(b, a), [b, a], 'one reason is enough')
  assert.deepEqual(
    [tracked.isFor(a, 'asked'), tracked.isFor(a, 'bond'), tracked.isFor(b, 'bond')],
    [true, false, false],
  )
  tracked.remove(a, 'asked')
  assert.deepEqual(hits(b, a), [b])
  assert.deepEqual([tracked.has(a), tracked.has(b)], [false, true])
  const { hi, lo } = keys.of(a)
  assert.ok(Number.isSafeInteger(mapKey(hi, lo)))
})

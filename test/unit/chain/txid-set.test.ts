/** A set of txids in flat memory, held to a `Set` of their hex through random lives. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import { TxidKey, TxidSet } from '../../../src/chain/txid-set.ts'
import { asTxid, type Txid } from '../../../src/chain/types.ts'

const keyOf = (salt: Uint8Array = Buffer.alloc(16, 7)) => new TxidKey(new OutpointKeys(salt))
const txids = Array.from({ length: 20_000 }, (_, i) => asTxid(createHash('sha256').update(String(i)).digest('hex')))

test('whatever is added, deleted, marked and asked for: as a Set has it', async () => {
  const one = fc.nat(40).map((i) => txids[i]!)
  const step = fc.oneof(
    { weight: 40, arbitrary: fc.record({ kind: fc.constantFrom('add', 'delete', 'mark'), txid: one }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('unmarkAll', 'clear'), txid: one }) },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 300, size: 'max' }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      async (steps, salt) => {
        const key = keyOf(salt)
        const set = new TxidSet(key)
        const model = new Set<Txid>()
        const marked = new Set<Txid>()
        for (const { kind, txid } of steps) {
          if (kind === 'add') {
            set.add(txid)
            model.add(txid)
          } else if (kind === 'delete') {
            marked.delete(txid)
            assert.equal(set.delete(txid), model.delete(txid))
          } else if (kind === 'mark') {
            assert.equal(set.mark(key.of(txid)), model.has(txid))
            if (model.has(txid)) marked.add(txid)
          } else {
            if (kind === 'clear') set.clear()
            else set.unmarkAll()
            if (kind === 'clear') model.clear()
            marked.clear()
          }
          assert.equal(set.size, model.size)
        }
        for (const txid of txids.slice(0, 41)) {
          assert.deepEqual([set.has(txid), set.isMarked(txid)], [model.has(txid), marked.has(txid)])
        }
        assert.deepEqual(set.some(100).sort(), [...model].sort())
        assert.deepEqual((await set.unmarked()).some(100).sort(), [...model].filter((txid) => !marked.has(txid)).sort())
        const few = set.some(5)
        assert.equal(few.length, Math.min(5, model.size))
        assert.ok(few.every((txid) => model.has(txid)))
      },
    ),
  )
})

test('many, over the borders of pages: filled, emptied in another order, filled again', () => {
  const key = keyOf()
  const set = new TxidSet(key)
  for (let round = 0; round < 2; round++) {
    for (const txid of txids) set.add(txid)
    assert.equal(set.size, txids.length)
    for (const [i, txid] of txids.entries()) if (i % 3 !== 0) assert.ok(set.delete(txid))
    for (const [i, txid] of txids.entries()) assert.equal(set.has(txid), i % 3 === 0, `${i}`)
    const left = new Set(set.some(txids.length))
    assert.equal(left.size, set.size)
    while (set.size > 0) for (const txid of set.some(1_000)) assert.ok(set.delete(txid) && left.delete(txid))
    assert.equal(left.size, 0)
  }
})

test('a key is read from 64 lower-case hex digits and from nothing else', () => {
  const key = keyOf()
  const set = new TxidSet(key)
  set.add(txids[0]!)
  const text = Buffer.from(`"${txids[0]}"`)
  assert.ok(key.read(text, 1) && set.hasKey(key))
  assert.ok(!key.read(text, 0) && !key.read(text, 2), 'quotes')
  for (const odd of ['A', 'g', '/', ':', '`', '\u0000', '\u00ff']) {
    for (const at of [0, 31, 63]) {
      const damaged = Buffer.from(txids[0]!, 'latin1')
      damaged.write(odd, at, 'latin1')
      assert.ok(!key.read(damaged, 0), `${odd} at ${at}`)
    }
  }
  assert.ok(!key.read(text.subarray(0, 40), 1), 'too short')
})

test('txids that differ in one bit are two, wherever it is', () => {
  const set = new TxidSet(keyOf())
  const bits = Array.from({ length: 256 }, (_, bit) => {
    const bytes = Buffer.alloc(32, 0x5a)
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    return asTxid(bytes.toString('hex'))
  })
  for (const txid of bits) set.add(txid)
  assert.equal(set.size, 256)
  for (const txid of bits) assert.ok(set.delete(txid))
})

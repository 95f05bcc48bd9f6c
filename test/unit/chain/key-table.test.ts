/** A table of keys behaves as a list of them would, however they lie and whatever has come and gone before. */
import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { KeyTable } from '../../../src/chain/key-table.ts'

type Key = readonly [hi: number, lo: number]

const hitsOf = (table: KeyTable, words: Uint32Array) => {
  const found: number[] = []
  table.hits(words, (index) => found.push(index))
  return found
}

// Few words, of few segments and homes: most of them are in each other's way, at the end of a segment too.
const words = fc.constantFrom(0, 1, 2, 7, 8, 15, 0x7fffffff, 0x80000000, 0xfffffff7, 0xffffffff)
const keys = fc.tuple(words, words)
const acts = fc.array(fc.tuple(fc.constantFrom('add', 'delete'), keys), { maxLength: 300 })

test('what was added and not taken away is there, as often as it was added', () => {
  fc.assert(
    fc.property(acts, fc.constantFrom(1, 2, 256), (some, segments) => {
      const table = new KeyTable(segments)
      const model: Key[] = []
      // The key of zeros and its neighbour are one: a candidate each, for the other.
      const isSame = ([hi, lo]: Key) => {
        const name = ([h, l]: Key) => `${h} ${h === 0 && l === 0 ? 1 : l}`
        return (other: Key) => name(other) === name([hi, lo])
      }
      for (const [act, key] of some) {
        const at = model.findIndex(isSame(key))
        if (act === 'add') {
          table.add(...key)
          model.push(key)
        } else {
          assert.equal(table.delete(...key), at >= 0)
          if (at >= 0) model.splice(at, 1)
        }
        assert.equal(table.size, model.length)
      }
      const all = some.map(([, key]) => key)
      for (const key of all) assert.equal(table.has(...key), model.some(isSame(key)))
      const expected = all.flatMap((key, i) => (model.some(isSame(key)) ? [i] : []))
      assert.deepEqual(hitsOf(table, Uint32Array.from(all.flat())), expected)
    }),
    { numRuns: 300 },
  )
})

test('a hundred thousand keys are found, and nothing else; in few bytes, also when most have gone', () => {
  const table = new KeyTable()
  const count = 100_000
  const words = randomFillSync(new Uint32Array(2 * count))
  for (let i = 0; i < count; i++) table.add(words[2 * i]!, words[2 * i + 1]!)
  assert.equal(hitsOf(table, words).length, count)
  assert.deepEqual(hitsOf(table, randomFillSync(new Uint32Array(2 * count))), [])
  assert.ok(table.bytes <= 24 * count, `${table.bytes} bytes`)
  for (let i = 0; i < count - 100; i++) table.delete(words[2 * i]!, words[2 * i + 1]!)
  assert.deepEqual(hitsOf(table, words).length, 100)
  assert.ok(table.bytes <= 60_000, `${table.bytes} bytes`)
})

test('no mark is left of keys that came and went', () => {
  const table = new KeyTable(1)
  table.add(7, 7)
  const { bytes } = table
  for (let i = 0; i < 100_000; i++) {
    table.add(i, 2 * i)
    table.delete(i, 2 * i)
  }
  assert.deepEqual([table.size, table.bytes, table.has(7, 7)], [1, bytes, true])
})

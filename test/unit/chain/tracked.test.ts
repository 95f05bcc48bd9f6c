/** Tracked outpoints are found among a block's inputs, whatever has come and gone before. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import { TrackedOutpoints } from '../../../src/chain/tracked.ts'
import { asTxid, formatOutpoint, type Outpoint } from '../../../src/chain/types.ts'

const keys = new OutpointKeys(Buffer.alloc(16, 9))
const outpoint = (n: number): Outpoint => ({ txid: asTxid(n.toString(16).padStart(64, '0')), vout: n % 3 })
const wordsOf = (numbers: readonly number[]) =>
  Uint32Array.from(numbers.map((n) => keys.of(outpoint(n))).flatMap(({ hi, lo }) => [hi, lo]))
const namesHit = (tracked: TrackedOutpoints, numbers: readonly number[]) => {
  const found: Outpoint[] = []
  tracked.hits(wordsOf(numbers), (index) => found.push(outpoint(numbers[index]!)))
  return namesOf(found)
}
const namesOf = (found: readonly Outpoint[]) => found.map(formatOutpoint).sort()

test('what is tracked is found, and nothing else, however many have come and gone', () => {
  const tracked = new TrackedOutpoints(keys)
  const kept = Array.from({ length: 300 }, (_, i) => 7 * i)
  for (const n of kept) tracked.add(outpoint(n), 'bond')
  // More than after which the filter is made anew, twice.
  for (let n = 100_000; n < 380_000; n++) {
    tracked.add(outpoint(n), 'asked')
    tracked.remove(outpoint(n), 'asked')
  }
  const all = Array.from({ length: 3_000 }, (_, i) => i)
  assert.deepEqual(namesHit(tracked, all), namesOf(kept.filter((n) => n < 3_000).map(outpoint)))
  const late = 380_001
  tracked.add(outpoint(late), 'asked')
  assert.deepEqual(namesHit(tracked, [late, late + 1, 7]), namesOf([outpoint(late), outpoint(7)]))
})

test('with one reason left it is found, with none it is not', () => {
  const tracked = new TrackedOutpoints(keys)
  tracked.add(outpoint(1), 'bond')
  tracked.add(outpoint(1), 'asked')
  tracked.remove(outpoint(1), 'bond')
  assert.equal(namesHit(tracked, [1]).length, 1)
  tracked.remove(outpoint(1), 'asked')
  assert.equal(namesHit(tracked, [1]).length, 0)
})

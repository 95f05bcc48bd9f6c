/**
 * The index of what blocks spent, whatever has happened to it: blocks one by one and many at once, reorgs across the
 * borders of segments, the retention moving on. It must name the blocks that a plain map of all of them names.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { OutpointKey } from '../../../src/chain/outpoint-keys.ts'
import { asBlockHash, type Height } from '../../../src/chain/types.ts'
import { StoreError } from '../../../src/errors.ts'
import { checkDatabase } from '../../../src/store/check.ts'
import { SEGMENT_BLOCKS, segmentOf } from '../../../src/store/local/packed-keys.ts'
import {
  deleteSpentKeysAt,
  findCandidates,
  hasSpentKeysAt,
  insertSpentKeys,
  packSpentKeys,
  pruneSpentKeys,
  readIndexedFrom,
} from '../../../src/store/local/spent-keys.ts'
import { deleteBlock, insertBlock } from '../../../src/store/local/tip.ts'
import { type Db, openStore } from '../../../src/store/open.ts'
import { tempDir } from '../../support/temp-dir.ts'

const FROM = 1_000
const hash = asBlockHash('ab'.repeat(32))
/** Few of them, so that blocks share some; they fall into all buckets. */
const keyOf = (n: number): OutpointKey => ({ hi: Math.imul(n, 0x9e3779b1) >>> 0, lo: n })

/** An index beside what it should hold. */
class Index {
  readonly spent = new Map<Height, readonly number[]>()
  readonly #db: Db
  top = FROM - 1
  constructor(db: Db) {
    this.#db = db
  }

  async connect(blocks: readonly (readonly number[])[]): Promise<void> {
    const next = blocks.map((spends, i) => ({
      height: this.top + 1 + i,
      words: Uint32Array.from(spends.map(keyOf).flatMap(({ hi, lo }) => [hi, lo])),
    }))
    const rows = await packSpentKeys(this.#db, next)
    this.#db.transaction(() => {
      for (const { height } of next) insertBlock(this.#db, { height, hash, prevHash: hash, timeS: 1 })
      insertSpentKeys(this.#db, rows)
    })
    for (const [i, { height }] of next.entries()) this.spent.set(height, blocks[i]!)
    this.top += blocks.length
  }

  disconnect(): void {
    if (this.top < FROM) return
    this.#db.transaction(() => {
      deleteSpentKeysAt(this.#db, this.top)
      deleteBlock(this.#db, this.top)
    })
    this.spent.delete(this.top--)
  }

  prune(below: Height): void {
    pruneSpentKeys(this.#db, below)
    for (const height of [...this.spent.keys()]) if (height < below) this.spent.delete(height)
  }

  candidates(n: number): Height[] {
    const found = new Set<Height>()
    findCandidates(this.#db, [keyOf(n)], (index, height) => found.add(index === 0 ? height : -1))
    return [...found].sort((a, b) => a - b)
  }

  assertRight(keys: number): void {
    const heights = [...this.spent.keys()].sort((a, b) => a - b)
    assert.equal(readIndexedFrom(this.#db), heights[0])
    for (let height = FROM - 1; height <= this.top + 1; height++) {
      assert.equal(hasSpentKeysAt(this.#db, height), this.spent.has(height), `${height}`)
    }
    for (let n = 0; n < keys; n++) {
      const expected = heights.filter((height) => this.spent.get(height)!.includes(n))
      assert.deepEqual(this.candidates(n), expected, `key ${n}`)
    }
    assert.deepEqual(
      checkDatabase(this.#db.path).filter((complaint) => !/identity/.test(complaint)),
      [],
    )
  }
}

const spends = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 8 })
const step = fc.oneof(
  { weight: 5, arbitrary: fc.array(spends, { minLength: 1, maxLength: 40 }).map((blocks) => ({ blocks })) },
  { weight: 3, arbitrary: spends.map((one) => ({ blocks: [one] })) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 40 }).map((back) => ({ back })) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 70 }).map((keep) => ({ keep })) },
)

test('whatever blocks come and go, each key names the blocks that spend it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      using dir = tempDir()
      using db = openStore(dir.path, 'regtest').db
      const index = new Index(db)
      for (const one of steps) {
        if ('blocks' in one) await index.connect(one.blocks)
        else if ('back' in one) for (let i = 0; i < one.back; i++) index.disconnect()
        else index.prune(Math.max(FROM, index.top - one.keep))
      }
      index.assertRight(41)
    }),
    { numRuns: 60 },
  )
})

test('what is packed at once, block by block, or again after a reorg, is kept in the same rows', async () => {
  const blocks = Array.from({ length: 3 * SEGMENT_BLOCKS }, (_, i) => [i, i + 1, 7])
  const rowsOf = (db: Db) => ['indexed_blocks', 'spent_keys'].map((table) => db.prepare(`SELECT * FROM ${table}`).all())
  const kept: unknown[] = []
  for (const way of ['at once', 'one by one', 'reorg'] as const) {
    using dir = tempDir()
    using db = openStore(dir.path, 'regtest').db
    const index = new Index(db)
    if (way === 'one by one') for (const block of blocks) await index.connect([block])
    else await index.connect(blocks)
    if (way === 'reorg') {
      const depth = SEGMENT_BLOCKS + 9
      for (let i = 0; i < depth; i++) index.disconnect()
      await index.connect(blocks.slice(-depth))
    }
    assert.ok(db.prepare('SELECT 1 FROM spent_keys').get())
    kept.push(rowsOf(db))
  }
  assert.deepEqual(kept[1], kept[0])
  assert.deepEqual(kept[2], kept[0])
})

test('segments below the retention go with it, after a long absence some with each block', async () => {
  using dir = tempDir()
  using db = openStore(dir.path, 'regtest').db
  const index = new Index(db)
  for (let i = 0; i < 10; i++) await index.connect(Array.from({ length: SEGMENT_BLOCKS }, () => [i]))
  const segments = () =>
    new Set((db.prepare('SELECT id FROM spent_keys').all() as { id: number }[]).map(({ id }) => id >> 10)).size
  const before = segments()
  const below = FROM + 7 * SEGMENT_BLOCKS
  index.prune(below)
  assert.ok(segments() < before && segments() > 4, 'not all of them')
  index.assertRight(10)
  for (let i = 0; i < 4; i++) index.prune(below)
  const first = db.prepare('SELECT min(id) FROM spent_keys').pluck().get() as number
  assert.equal(first >> 10, segmentOf(below))
  index.assertRight(10)
})

test('a row that can not be read is damage, and told as such', async () => {
  using dir = tempDir()
  using db = openStore(dir.path, 'regtest').db
  const index = new Index(db)
  await index.connect(Array.from({ length: SEGMENT_BLOCKS }, () => [3]))
  db.prepare("UPDATE spent_keys SET keys = x'05'").run()
  assert.throws(() => index.candidates(3), StoreError)
  assert.throws(() => index.candidates(3), /check-db --salvage/)
})

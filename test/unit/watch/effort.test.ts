/** The effort of registrations: what it is over, how much is asked, and that the refusal can be read by programs. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { asBlockHash, asTxid, type Outpoint } from '../../../src/chain/types.ts'
import {
  askForEffort,
  EFFORT_LIMITS,
  EffortSearch,
  effortAskedBy,
  effortBits,
  effortBitsAsked,
} from '../../../src/watch/effort.ts'
import { EFFORTS, type EffortVector } from '../../support/vectors.ts'

const outpointsOf = (vector: EffortVector): Outpoint[] =>
  vector.outpoints.map(({ txid, vout }) => ({ txid: asTxid(txid), vout }))

test('published vectors: the bits of an effort', () => {
  assert.ok(EFFORTS.length >= 2)
  for (const vector of EFFORTS) {
    const over = { blockHash: asBlockHash(vector.block_hash), outpoints: outpointsOf(vector) }
    assert.equal(effortBits(over, Buffer.from(vector.effort, 'hex')), vector.bits)
    // As docs/protocol.md tells it, byte by byte.
    const hash = createHash('sha256').update(Buffer.from(vector.block_hash, 'hex').reverse())
    for (const { txid, vout } of vector.outpoints) {
      const index = Buffer.alloc(4)
      index.writeUInt32LE(vout)
      hash.update(Buffer.from(txid, 'hex').reverse()).update(index)
    }
    assert.equal(hash.update(Buffer.from(vector.effort, 'hex')).digest('hex'), vector.sha256)
  }
})

test('a search finds what is enough, in slices, and counts its hashes', () => {
  const over = { blockHash: asBlockHash('ab'.repeat(32)), outpoints: [{ txid: asTxid('cd'.repeat(32)), vout: 1 }] }
  const search = new EffortSearch(over, 10)
  let found: Buffer | undefined
  for (let slices = 0; !found && slices < 1_000; slices++) {
    found = search.next(100)
    assert.ok(search.hashes <= 100 * (slices + 1))
  }
  assert.ok(found && effortBits(over, found) >= 10)
  // For nothing else: other outpoints, another order, another block.
  const others = [
    { ...over, outpoints: [{ ...over.outpoints[0]!, vout: 2 }] },
    { ...over, outpoints: [over.outpoints[0]!, over.outpoints[0]!] },
    { ...over, blockHash: asBlockHash('ac'.repeat(32)) },
  ]
  assert.ok(others.filter((other) => effortBits(other, found) >= 10).length <= 1)
})

const places = { taken: 0, fresh: 1, prolonged: 0, max: 100_000, ttlBlocks: 2_016 }

test('half of the places are free; then the bits rise, and steeply where they get few', () => {
  const asked = (taken: number) => effortBitsAsked({ ...places, taken })
  assert.equal(asked(0), 0)
  assert.equal(asked(49_999), 0)
  assert.equal(asked(50_000), 13)
  assert.equal(asked(89_999), 22)
  assert.equal(asked(99_999), 32)
  for (let taken = 50_000; taken < 99_999; taken++) assert.ok(asked(taken) <= asked(taken + 1))
  assert.equal(effortBitsAsked({ ...places, taken: 99_999, fresh: 0 }), 0, 'what changes nothing is free')
  assert.ok(effortBitsAsked({ ...places, taken: 60_000, fresh: 0, prolonged: 1 }) > 0, 'prolonging is like registering')
  assert.ok(effortBitsAsked({ ...places, max: 1_000, fresh: 1_000 }) > 32, 'one request can not take all for nothing')
})

test('the work is in proportion to outpoints and blocks: neither batches nor years are cheaper', () => {
  const work = (asked: Partial<typeof places>) => 2 ** effortBitsAsked({ ...places, taken: 70_000, ...asked })
  for (const fresh of [2, 3, 5, 100, 1_000]) assert.ok(work({ fresh }) >= (fresh * work({})) / 2, `${fresh} outpoints`)
  assert.ok(work({ ttlBlocks: 52_560 }) / work({}) >= 16, 'a year')
  assert.equal(work({ ttlBlocks: 1 }), work({ ttlBlocks: 2_016 }))
})

test('an honest wallet: five outpoints for two weeks take a phone less than a minute while a tenth of the places is left', () => {
  const hashes = 2 ** effortBitsAsked({ ...places, taken: 89_000, fresh: 5 })
  assert.ok(hashes / 1e6 < 60, `${hashes} hashes`)
})

test('the refusal is read by programs', () => {
  const blockHash = asBlockHash('0123456789abcdef'.repeat(4))
  const message = `${askForEffort({ bits: 17, blockHash })}: it had none, and 51000 of 100000 places are taken`
  assert.match(message, /effort of 17 bits over the block 0123456789abcdef/)
  assert.deepEqual(effortAskedBy(message), { bits: 17, blockHash })
  assert.equal(effortAskedBy('a connection may register 10000 outpoints'), undefined)
  assert.ok(EFFORT_LIMITS.tips > 1)
})

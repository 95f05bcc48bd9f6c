import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Block, Transaction } from 'bitcoinjs-lib'
import { assertTransactions, assertWitnesses, merkleRoot } from '../../../src/chain/block-proof.ts'
import { MalformedError } from '../../../src/chain/decode.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const leaf = (i: number) => sha256(Buffer.from(`leaf ${i}`))

/** A block of `count` transactions as a miner makes it; those but the first have a witness where `isSegwit`. */
function minedBlock(count: number, { isSegwit = true } = {}): Block {
  const transactions = Array.from({ length: count }, (_, i) => {
    const tx = new Transaction()
    tx.addInput(i === 0 ? Buffer.alloc(32) : leaf(i), i === 0 ? 0xffffffff : i, 0xffffffff, Buffer.of(i % 256))
    tx.addOutput(Buffer.of(0x51), BigInt(1_000 + i))
    if (isSegwit) tx.setWitness(0, [i === 0 ? Buffer.alloc(32, 7) : Buffer.from(`preimage ${i}`)])
    return tx
  })
  const block = new Block()
  block.prevHash = Buffer.alloc(32, 3)
  block.bits = 0x207fffff
  if (isSegwit) {
    transactions[0]!.addOutput(Buffer.alloc(38), 0n)
    const commitment = Block.calculateMerkleRoot(transactions, true)
    transactions[0]!.outs[1]!.script = Buffer.concat([Buffer.from('6a24aa21a9ed', 'hex'), commitment])
  }
  block.merkleRoot = Block.calculateMerkleRoot(transactions)
  block.transactions = transactions
  return block
}
const bytesOf = (block: Block) => Buffer.from(block.toBuffer())

test('what a miner commits to is accepted, with an even and an odd number of transactions on every level', () => {
  for (const count of [1, 2, 3, 4, 5, 6, 7, 11, 13]) {
    for (const isSegwit of [true, false]) {
      const raw = bytesOf(minedBlock(count, { isSegwit }))
      assertTransactions(raw)
      assertWitnesses(raw)
    }
  }
})

test('every bit of a block is under one of the two', () => {
  const raw = bytesOf(minedBlock(3))
  for (let at = 80; at < raw.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Buffer.from(raw)
      changed[at]! ^= 1 << bit
      assert.throws(() => {
        assertTransactions(changed)
        assertWitnesses(changed)
      }, `byte ${at}, bit ${bit}`)
    }
  }
})

test('transactions repeated at the end leave the root as it is, and are refused (CVE-2012-2459)', () => {
  const three = Array.from({ length: 3 }, (_, i) => leaf(i))
  const root = merkleRoot(Buffer.concat(three))
  assert.equal(
    root.toString('hex'),
    sha256(
      sha256(
        Buffer.concat([
          sha256(sha256(Buffer.concat([three[0]!, three[1]!]))),
          sha256(sha256(Buffer.concat([three[2]!, three[2]!]))),
        ]),
      ),
    ).toString('hex'),
  )
  assert.throws(() => merkleRoot(Buffer.concat([...three, three[2]!])), MalformedError)
  const six = Array.from({ length: 6 }, (_, i) => leaf(i))
  assert.throws(() => merkleRoot(Buffer.concat([...six, six[4]!, six[5]!])), /repeats transactions/)
  const block = minedBlock(3, { isSegwit: false })
  block.transactions!.push(block.transactions![2]!)
  assert.throws(() => assertTransactions(bytesOf(block)), /repeats transactions/)
})

test('witnesses that nobody commits to', () => {
  const block = minedBlock(3, { isSegwit: false })
  block.transactions![1]!.setWitness(0, [Buffer.from('preimage')])
  assertTransactions(bytesOf(block))
  assert.throws(() => assertWitnesses(bytesOf(block)), /has witnesses, and commits to none/)
})

test('no transactions at all', () => {
  assert.throws(() => assertTransactions(Buffer.concat([Buffer.alloc(80), Buffer.of(0)])), MalformedError)
})

/** Partial merkle trees against a brute-force merkle tree; work; and every way in which a bond's proof may not hold. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import fc from 'fast-check'
import { announcementScript } from '../../../src/bonds/announcement.ts'
import { type BondProof, hasWork, targetOf, verifyBondProof } from '../../../src/bonds/spv.ts'
import { blockHashOf } from '../../../src/chain/decode.ts'
import { readMerkleBlock } from '../../../src/chain/merkle-block.ts'
import { asTxid, fromInternal } from '../../../src/chain/types.ts'

// ---- trees, made the slow way ----------------------------------------------------------------------------------------

const sha256d = (bytes: Uint8Array) => createHash('sha256').update(createHash('sha256').update(bytes).digest()).digest()
const pair = (left: Buffer, right = left) => sha256d(Buffer.concat([left, right]))

/** All levels, leaves first. */
function levelsOf(leaves: readonly Buffer[]): Buffer[][] {
  const levels = [[...leaves]]
  while (levels.at(-1)!.length > 1) {
    const below = levels.at(-1)!
    const level: Buffer[] = []
    for (let i = 0; i < below.length; i += 2) level.push(pair(below[i]!, below[i + 1]))
    levels.push(level)
  }
  return levels
}

/** 80 bytes with this merkle root; on regtest every other nonce is work enough. */
function headerOf(root: Buffer, bits = 0x207fffff): Buffer {
  const header = Buffer.alloc(80)
  root.copy(header, 36)
  header.writeUInt32LE(1_700_000_000, 68)
  header.writeUInt32LE(bits, 72)
  for (let nonce = 0; !hasWork(header, 'regtest') && nonce < 100; nonce++) header.writeUInt32LE(nonce, 76)
  return header
}

function compactSize(size: number): Buffer {
  return size < 0xfd ? Buffer.of(size) : Buffer.of(0xfd, size & 0xff, size >> 8)
}

interface Parts {
  header: Buffer
  transactions: number
  hashes: Buffer[]
  bits: boolean[]
}

/** BIP37's walk over the whole tree. */
function partsOf(leaves: readonly Buffer[], isMatched: (position: number) => boolean): Parts {
  const levels = levelsOf(leaves)
  const hashes: Buffer[] = []
  const bits: boolean[] = []
  const walk = (height: number, position: number) => {
    let hasMatch = false
    for (let i = position << height; i < (position + 1) << height && i < leaves.length; i++) hasMatch ||= isMatched(i)
    bits.push(hasMatch)
    if (height === 0 || !hasMatch) return hashes.push(levels[height]![position]!)
    walk(height - 1, 2 * position)
    if (2 * position + 1 < levels[height - 1]!.length) walk(height - 1, 2 * position + 1)
  }
  walk(levels.length - 1, 0)
  return { header: headerOf(levels.at(-1)![0]!), transactions: leaves.length, hashes, bits }
}

function encode({ header, transactions, hashes, bits }: Parts): Buffer {
  const count = Buffer.alloc(4)
  count.writeUInt32LE(transactions)
  const flags = Buffer.alloc(Math.ceil(bits.length / 8))
  for (const [i, bit] of bits.entries()) if (bit) flags[i >> 3]! |= 1 << (i & 7)
  return Buffer.concat([header, count, compactSize(hashes.length), ...hashes, compactSize(flags.length), flags])
}

const leafOf = (i: number) => sha256d(Buffer.from(`transaction ${i}`))
const leavesOf = (count: number) => Array.from({ length: count }, (_, i) => leafOf(i))

const aBlock = fc
  .integer({ min: 1, max: 70 })
  .chain((count) => fc.record({ count: fc.constant(count), matched: fc.subarray([...Array(count).keys()]) }))

function faultOf(merkle: Buffer): string {
  const verdict = readMerkleBlock(merkle)
  return verdict.ok ? 'none' : verdict.fault
}

test('every subset of the transactions of every block is proven, each at its place', () => {
  fc.assert(
    fc.property(aBlock, ({ count, matched }) => {
      const parts = partsOf(leavesOf(count), (i) => matched.includes(i))
      const verdict = readMerkleBlock(encode(parts))
      assert(verdict.ok, JSON.stringify(verdict))
      assert.deepEqual(verdict.header, parts.header)
      const expected = matched.map((position) => ({ txid: asTxid(fromInternal(leafOf(position))), position }))
      assert.deepEqual(verdict.matched, expected)
    }),
  )
})

test('a proof with any one bit changed proves no hash that is not in the tree', () => {
  fc.assert(
    fc.property(aBlock, fc.nat(), fc.nat(7), ({ count, matched }, at, bit) => {
      const merkle = encode(partsOf(leavesOf(count), (i) => matched.includes(i)))
      merkle[36 + (at % (merkle.length - 36))]! ^= 1 << bit
      const verdict = readMerkleBlock(merkle)
      if (!verdict.ok) return
      // A flag may name a sibling; a smaller count may name an inner node, which is the txid of no transaction but one
      // of 64 bytes.
      const known = new Set(levelsOf(leavesOf(count)).flat().map(fromInternal))
      assert(verdict.matched.every(({ txid }) => known.has(txid)))
    }),
    { numRuns: 1_000 },
  )
})

test('a proof cut at any byte, or with a byte more, is malformed', () => {
  const merkle = encode(partsOf(leavesOf(7), (i) => i === 4))
  for (let length = 0; length < merkle.length; length++) {
    assert.equal(faultOf(merkle.subarray(0, length)), 'malformed-merkle', `cut at ${length}`)
  }
  assert.equal(faultOf(Buffer.concat([merkle, Buffer.of(0)])), 'malformed-merkle')
})

test('counts, hashes and flags that the tree does not need are malformed', () => {
  const parts = partsOf(leavesOf(7), (i) => i === 4)
  const long = Buffer.concat([encode(parts).subarray(0, 84), Buffer.of(0xfd, parts.hashes.length, 0)])
  const cases: Record<string, Buffer> = {
    'no transactions': encode({ ...parts, transactions: 0 }),
    'more transactions than a block holds': encode({ ...parts, transactions: 16_667 }),
    'more hashes than leaves': encode({ ...parts, transactions: 1 }),
    'a hash too many': encode({ ...parts, hashes: [...parts.hashes, leafOf(9)] }),
    'a hash too few': encode({ ...parts, hashes: parts.hashes.slice(0, -1) }),
    'a byte of flags too many': encode({ ...parts, bits: [...parts.bits, ...Array(8).fill(false)] }),
    'too few flags': encode({ ...parts, bits: [] }),
    'a bit of padding that is set': encode({ ...parts, bits: [...parts.bits, true] }),
    'a length in more bytes than needed': Buffer.concat([long, encode(parts).subarray(85)]),
  }
  for (const [what, merkle] of Object.entries(cases)) assert.equal(faultOf(merkle), 'malformed-merkle', what)
  const wrong = parts.hashes.with(0, leafOf(99))
  assert.equal(faultOf(encode({ ...parts, hashes: wrong })), 'wrong-root')
})

test('equal siblings, which double the end of a list without changing its root, are refused (CVE-2012-2459)', () => {
  const three = leavesOf(3)
  const doubled = [...three, three[2]!]
  assert.deepEqual(levelsOf(three).at(-1), levelsOf(doubled).at(-1))
  assert.equal(faultOf(encode(partsOf(three, (i) => i === 2))), 'none')
  assert.equal(faultOf(encode(partsOf(doubled, (i) => i === 3))), 'malformed-merkle')
  assert.equal(faultOf(encode(partsOf(doubled, (i) => i === 2))), 'malformed-merkle')
})

/** 64 bytes that are a transaction; its last 36 are script bytes, sequence, output and locktime. */
function smallTransaction(scriptBytes: number): Buffer {
  const tx = new Transaction()
  tx.addInput(leafOf(1), 0, 0xffffffff, Buffer.alloc(scriptBytes, 0x51))
  tx.addOutput(Buffer.alloc(4 - scriptBytes, 0x51), 1n)
  return Buffer.from(tx.toBuffer())
}

test('a transaction of 64 bytes is not taken for a node, whatever its scripts', () => {
  for (let scriptBytes = 0; scriptBytes <= 4; scriptBytes++) {
    const small = smallTransaction(scriptBytes)
    assert.equal(small.length, 64)
    // The block's two leaves are `small` and another; the proof goes one level too deep, into the bytes of `small`.
    const invented = small.subarray(32)
    const root = pair(sha256d(small), leafOf(2))
    const merkle = encode({
      header: headerOf(root),
      transactions: 4,
      hashes: [small.subarray(0, 32), invented, leafOf(2)],
      bits: [true, true, false, true, false],
    })
    assert.equal(faultOf(merkle), 'ambiguous-merkle')
  }
})

// ---- work ------------------------------------------------------------------------------------------------------------

const GENESIS = Buffer.from(
  '0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c',
  'hex',
)

test('the first block of main has its work; with another nonce, or an easier target, it has not', () => {
  assert.equal(blockHashOf(GENESIS), '000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f')
  assert(hasWork(GENESIS, 'main') && hasWork(GENESIS, 'regtest'))
  const other = Buffer.from(GENESIS)
  other.writeUInt32LE(1, 76)
  assert(!hasWork(other, 'main'))
  const easy = headerOf(leafOf(1))
  assert(hasWork(easy, 'regtest'))
  assert(!hasWork(easy, 'main') && !hasWork(easy, 'signet'))
})

test('compact targets are read as bitcoind reads them', () => {
  // Source: Bitcoin Core, arith_uint256_tests.cpp, bignum_SetCompact.
  for (const [bits, target] of [
    [0x00000000, undefined],
    [0x00123456, undefined],
    [0x01003456, undefined],
    [0x01123456, 0x12n],
    [0x02123456, 0x1234n],
    [0x03123456, 0x123456n],
    [0x04123456, 0x12345600n],
    [0x04923456, undefined],
    [0x05009234, 0x92340000n],
    [0x20123456, 0x123456n << 232n],
    [0xff123456, undefined],
  ] as const) {
    assert.equal(targetOf(bits), target, bits.toString(16))
  }
})

// ---- a bond's proof --------------------------------------------------------------------------------------------------

const RULES = { network: 'regtest', allowTestAddresses: true } as const

function announcing(text = '127.0.0.1:6102#15000'): Transaction {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = 100
  tx.addInput(leafOf(50), 0, 0xfffffffe)
  tx.setWitness(0, [Buffer.alloc(64, 1)])
  tx.addOutput(Buffer.concat([Buffer.of(0, 32), leafOf(51)]), 50_000n)
  tx.addOutput(announcementScript(text), 0n)
  return tx
}

function aProof(tx = announcing(), matched = 2): BondProof & { blockHash: string } {
  const leaves = leavesOf(5).with(2, Buffer.from(tx.getHash(false)))
  const parts = partsOf(leaves, (i) => i === matched)
  const blockHash = blockHashOf(parts.header)
  return { tx: tx.toBuffer(), header: parts.header, height: 111, merkle: encode(parts), blockHash }
}

const outpointOf = (tx: Transaction, vout = 0) => ({ txid: asTxid(tx.getId()), vout })

test('a proof that holds says in which block the bond is, and what it announces', () => {
  const tx = announcing()
  const { blockHash, ...proof } = aProof(tx)
  const verdict = verifyBondProof(proof, { outpoint: outpointOf(tx), blockHash: blockHash as never }, RULES)
  assert(verdict.ok, JSON.stringify(verdict))
  assert.deepEqual([verdict.blockHash, verdict.timeS], [blockHash, 1_700_000_000])
  assert.deepEqual([verdict.bond.address, verdict.bond.amountSats], ['127.0.0.1:6102', 50_000])
  const stripped = tx.clone()
  stripped.ins[0]!.witness = []
  const bare = { ...proof, tx: stripped.toBuffer() }
  assert(bare.tx.length < proof.tx.length)
  assert(verifyBondProof(bare, { outpoint: outpointOf(tx) }, RULES).ok, 'without witnesses, and no block claimed')
})

test('every lie in a proof is told by its name', () => {
  const tx = announcing()
  const proof = aProof(tx)
  const claim = { outpoint: outpointOf(tx) }
  const plain = announcing('no announcement')
  const otherTx = announcing('127.0.0.1:7777#15000')
  const lazy = Buffer.from(proof.header)
  for (let nonce = 0; hasWork(lazy, 'regtest'); nonce++) lazy.writeUInt32LE(nonce, 76)
  const lazyMerkle = Buffer.concat([lazy, proof.merkle.subarray(80)])
  const cases: [string, Partial<BondProof>, object][] = [
    ['malformed-merkle', { merkle: proof.merkle.subarray(0, -1) }, {}],
    ['other-header', { header: headerOf(leafOf(3)) }, {}],
    ['other-header', { header: proof.header.subarray(0, 79) }, {}],
    ['other-block', {}, { blockHash: '11'.repeat(32) }],
    ['no-work', { header: lazy, merkle: lazyMerkle }, {}],
    ['malformed-tx', { tx: proof.tx.subarray(0, -1) }, {}],
    ['malformed-tx', { tx: Buffer.concat([proof.tx, Buffer.of(0)]) }, {}],
    ['other-tx', { tx: otherTx.toBuffer() }, {}],
    ['not-in-tree', aProof(tx, 1), {}],
    ['not-in-tree', { tx: otherTx.toBuffer() }, { outpoint: outpointOf(otherTx) }],
    ['no-bond', aProof(plain), { outpoint: outpointOf(plain) }],
    ['no-bond', {}, { outpoint: outpointOf(tx, 1) }],
  ]
  for (const [fault, change, claimed] of cases) {
    const verdict = verifyBondProof({ ...proof, ...change }, { ...claim, ...claimed }, RULES)
    assert.equal(verdict.ok ? 'none' : verdict.fault, fault)
  }
  const small = Transaction.fromBuffer(smallTransaction(2))
  const verdict = verifyBondProof(aProof(small), { outpoint: outpointOf(small) }, RULES)
  assert.equal(verdict.ok ? 'none' : verdict.fault, 'ambiguous-merkle')
})

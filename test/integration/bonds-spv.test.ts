/**
 * `BondProof` against a real bitcoind: what the tracker sends holds by bitcoind's own `verifytxoutproof` and by our
 * check with headers alone, and whatever ours takes bitcoind takes too. Method: blocks of many sizes, real proofs, and
 * the same with bits changed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { verifyBondProof } from '../../src/bonds/spv.ts'
import { readMerkleBlock } from '../../src/chain/merkle-block.ts'
import { asTxid, formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { encodeReply } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest, RpcError } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'
import { startServer } from '../support/wire.ts'

const RULES = { network: 'regtest', allowTestAddresses: false } as const

const fund = (node: Regtest, name: string) =>
  node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const proofOf = (tracker: Tracker, outpoint: Outpoint) => tracker.ask({ type: 'BondProof', outpoint }, 'BondProof')
const refusalOf = (tracker: Tracker, outpoint: Outpoint) => tracker.ask({ type: 'BondProof', outpoint }, 'Error')

/** What bitcoind says that a merkleblock proves; nothing when it refuses it. */
async function provenBy(node: Regtest, merkle: Uint8Array): Promise<string[]> {
  try {
    return await node.rpc<string[]>('verifytxoutproof', hex(merkle))
  } catch (error) {
    if (error instanceof RpcError) return []
    throw error
  }
}

test('proofs from blocks of many sizes hold by bitcoind and with headers alone, and follow a reorg', async () => {
  await using node = await Regtest.start({ blocks: 130 })
  await using tracker = await Tracker.start(node)
  for (const others of [0, 1, 2, 5, 12]) {
    const address = await node.newAddress()
    for (let i = 0; i < others; i++) await node.pay([{ [address]: '0.01' }])
    const bond = await fund(node, `bond${others}`)
    const [blockHash] = await node.mine(1)
    await tracker.caughtUp(node)
    const proof = await proofOf(tracker, bond.outpoint)
    assert.equal(proof.height, await node.height())
    assert.equal(hex(proof.header), await node.rpc('getblockheader', blockHash, false))
    assert.equal(hex(proof.tx), bond.hex)
    assert.deepEqual(await provenBy(node, proof.merkle), [bond.txid])
    const verdict = verifyBondProof(proof, { outpoint: bond.outpoint, blockHash: blockHash as never }, RULES)
    assert(verdict.ok, JSON.stringify(verdict))
    assert.equal(verdict.bond.address, bond.address)
  }

  const moved = await fund(node, 'moved')
  await node.mine(1)
  await tracker.caughtUp(node)
  const first = await proofOf(tracker, moved.outpoint)
  await node.replaceTip({ drop: 1, mine: 1 })
  await node.mine(1)
  await tracker.caughtUp(node)
  const second = await proofOf(tracker, moved.outpoint)
  assert.equal(second.height, first.height + 1)
  assert.notEqual(hex(second.header), hex(first.header))
  assert.deepEqual(await provenBy(node, second.merkle), [moved.txid])
  assert.deepEqual(await provenBy(node, first.merkle), [], 'bitcoind knows that block no longer as one of its chain')

  const args = ['query', `127.0.0.1:${tracker.port}`, 'bond-proof', formatOutpoint(moved.outpoint)]
  const shown = await runVerb([...args, '--network', 'regtest'])
  assert.equal(shown.code, 0, shown.stderr)
  assert.match(
    shown.stdout,
    new RegExp(`holds: ${moved.address} announced 50000 sats in block ${await node.tipHash()}`),
  )
  const json = JSON.parse((await runVerb([...args, '--network', 'regtest', '--json'])).stdout)
  assert.deepEqual([json.holds, json.block_hash], [true, await node.tipHash()])

  // By the rules of another network every tracker lies: it is asked for its own before it is judged.
  const elsewhere = await runVerb([...args, '--network', 'main', '--json'])
  assert.deepEqual([elsewhere.code, elsewhere.stdout], [2, ''])
  const says = /127\.0\.0\.1:\d+ is a tracker of regtest, this is asked for main: give --network regtest\n$/
  assert.match(elsewhere.stderr, says)

  const status = await tracker.ask({ type: 'Status' }, 'Status')
  await using lazy = await startServer((request) => ({
    send: encodeReply(request.type === 'Status' ? { ...status, network: 'main' } : second),
  }))
  const judged = ['query', `127.0.0.1:${lazy.port}`, 'bond-proof', formatOutpoint(moved.outpoint)]
  const unproven = await runVerb([...judged, '--network', 'main'])
  assert.equal(unproven.code, 1, unproven.stderr)
  assert.match(unproven.stdout, /DOES NOT HOLD \(no-work\)/)
  const lying = await runVerb([...judged, '--network', 'signet'])
  assert.deepEqual([lying.code, lying.stdout], [2, ''])
})

test('whatever the check with headers alone takes as proven, bitcoind takes too', async () => {
  await using node = await Regtest.start({ blocks: 130 })
  for (let i = 0; i < 11; i++) await node.pay([{ [await node.newAddress()]: '0.01' }])
  const [blockHash] = await node.mine(1)
  const { tx } = await node.rpc<{ tx: string[] }>('getblock', blockHash)
  assert.equal(tx.length, 12)
  const check = fc.asyncProperty(
    fc.subarray(tx, { minLength: 1 }),
    fc.option(fc.tuple(fc.nat(), fc.nat(7))),
    async (txids, change) => {
      const merkle = Buffer.from(await node.rpc<string>('gettxoutproof', txids, blockHash), 'hex')
      // Not in the count of transactions: whoever has headers alone can't know it.
      if (change) merkle[84 + (change[0] % (merkle.length - 84))]! ^= 1 << change[1]
      const verdict = readMerkleBlock(merkle)
      if (!change) assert(verdict.ok)
      if (!verdict.ok) return
      const matched = verdict.matched.map(({ txid }) => txid)
      assert.deepEqual(
        matched,
        tx.filter((txid) => matched.includes(asTxid(txid))),
        'in block order',
      )
      assert.deepEqual(matched, await provenBy(node, merkle))
    },
  )
  await fc.assert(check, { numRuns: 150 })
})

test('only bonds we know are proven, and a bitcoind that is away or has pruned the block is told apart', async () => {
  await using node = await Regtest.start({ args: ['-prune=1', '-fastprune'], blocks: 110 })
  await using tracker = await Tracker.start(node)
  const bond = await fund(node, 'old')
  const other = await fund(node, 'other')
  await node.mine(1)
  const pending = await fund(node, 'pending')
  await tracker.caughtUp(node)
  const proof = await proofOf(tracker, bond.outpoint)

  for (const outpoint of [
    pending.outpoint,
    { ...bond.outpoint, vout: 1 },
    { txid: asTxid('ab'.repeat(32)), vout: 0 },
  ]) {
    const refusal = await refusalOf(tracker, outpoint)
    assert.equal(refusal.code, 'not_found')
    assert.match(refusal.message, /no confirmed bond known here/)
  }

  await node.mine(800)
  await tracker.caughtUp(node)
  assert((await node.rpc<number>('pruneblockchain', 500)) > 111)
  const refusal = await refusalOf(tracker, other.outpoint)
  assert.deepEqual([refusal.code, refusal.message], ['not_found', 'bitcoind no longer has block 111: it was pruned'])
  assert.deepEqual(await proofOf(tracker, bond.outpoint), proof, 'what was asked for before is kept')

  const late = await fund(node, 'late')
  await node.mine(1)
  await tracker.caughtUp(node)
  await node.stop()
  assert.equal((await refusalOf(tracker, late.outpoint)).code, 'busy')
  assert.deepEqual(await proofOf(tracker, bond.outpoint), proof)
  await node.launch()
  await waitUntil('it is proven again', async () => {
    const socketReply = await proofOf(tracker, late.outpoint).catch(() => undefined)
    return socketReply?.height === 912
  })
})

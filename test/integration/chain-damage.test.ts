/**
 * A bit of a block changes on its way (a failing disk under bitcoind): everything still parses, and none of it is
 * believed. By REST alone the block is asked for by RPC; by both it is not connected until it is whole.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { makeCoins, spend } from '../support/coins.ts'
import { type Answer, type Asked, type Fate, NodeLine } from '../support/node-line.ts'
import { onionHost } from '../support/onions.ts'
import { Wallet } from '../support/subscriber.ts'

const FAULT = 'a block was not had by REST, and asked for by RPC'

/** Changes the bit at `at(block)` of block `hash`, by REST and, where told, by RPC. */
function damage(hash: string, at: (block: Buffer) => number, { byRpc = false } = {}): (asked: Asked) => Fate {
  const change = (block: Buffer) => {
    const changed = Buffer.from(block)
    changed[at(block)]! ^= 0x01
    return changed
  }
  return ({ path, calls }) => {
    if (path === `/rest/block/${hash}.bin`) return { change: (answer) => ({ ...answer, body: change(answer.body) }) }
    if (!byRpc || calls[0]?.method !== 'getblock' || calls[0].params[0] !== hash) return undefined
    return {
      change: (answer: Answer) => {
        const envelope = JSON.parse(answer.body.toString()) as { result: string }
        const result = change(Buffer.from(envelope.result, 'hex')).toString('hex')
        return { ...answer, body: Buffer.from(JSON.stringify({ ...envelope, result })) }
      },
    }
  }
}

const start = (node: Regtest, proxy: NodeLine) => Tracker.start(node, { via: proxy })

/** Where each part of the bond's funding transaction lies in its block. */
const places: [what: string, at: (block: Buffer, bond: FundedBond) => number][] = [
  ['its amount by one sat', (block, bond) => amountAt(block, bond)],
  ['its amount beyond all money', (block, bond) => amountAt(block, bond) + 7],
  ['its announcement', (block, bond) => block.indexOf(bond.address.slice(0, 20)) + 3],
  ['the OP_RETURN, so that it announces nothing', (block, bond) => block.indexOf(bond.address.slice(0, 20)) - 2],
  ['what it spends', (block, bond) => block.indexOf(Buffer.from(bond.hex, 'hex').subarray(7, 39)) + 1],
  ['its lock', (block, bond) => block.indexOf(Buffer.from(bond.hex, 'hex').subarray(-40)) + 36],
]

async function bondRows(node: Regtest): Promise<unknown[] | undefined> {
  await using tracker = await Tracker.start(node)
  await tracker.caughtUp(node)
  return tracker.chainRows().bonds
}

function amountAt(block: Buffer, { amountSats }: FundedBond): number {
  const amount = Buffer.alloc(8)
  amount.writeBigUInt64LE(BigInt(amountSats))
  return block.indexOf(amount)
}

test('one bit of a bond changed on its way by REST: the bond is listed as it is, and the log tells', async () => {
  await using node = await Regtest.start({ zmq: false })
  const bond = await node.fundBond({
    key: bondKey('d'),
    format: 'D',
    address: `${onionHost('d')}:21`,
    amountSats: 77_777,
  })
  const [hash] = await node.mine(1)
  const block = Buffer.from(await node.rpc<string>('getblock', hash, 0), 'hex')
  await using proxy = await NodeLine.before(node)
  const whole = await bondRows(node)
  for (const [what, at] of places) {
    const place = at(block, bond)
    assert.ok(place > 80 && place < block.length, what)
    proxy.fate = damage(hash!, () => place)
    await using tracker = await start(node, proxy)
    await tracker.caughtUp(node)
    assert.deepEqual(await tracker.addresses(), [bond.address], what)
    assert.match(String((await tracker.said(FAULT)).detail), new RegExp(`REST: block ${hash}: .`), what)
    assert.deepEqual(tracker.chainRows().bonds, whole, what)
  }
})

test('damaged by RPC, too: not connected, said what is wrong, and followed once it is whole', async () => {
  await using node = await Regtest.start({ zmq: false })
  const bond = await node.fundBond({ key: bondKey('e'), format: 'D', address: `${onionHost('e')}:21` })
  const [hash] = await node.mine(1)
  await node.mine(2)
  await using proxy = await NodeLine.before(node)
  proxy.fate = damage(hash!, (block) => amountAt(block, bond) + 7, { byRpc: true })
  await using tracker = await start(node, proxy)
  const detail = await waitUntil('it says what is wrong', () =>
    tracker.log.map((line) => String(line.detail)).find((text) => /damaged/.test(text)),
  )
  assert.match(detail, new RegExp(`bitcoind gives block ${hash} damaged: its transactions are not those of its header`))
  const { synced, height } = await tracker.ask({ type: 'Status' }, 'Status')
  assert.equal(synced, false)
  assert.ok(height < (await node.height()) - 2, 'nothing from it on is connected')
  proxy.calm()
  await tracker.caughtUp(node)
  assert.deepEqual(await tracker.addresses(), [bond.address])
})

test('a witness changed in a block: who spends is told with the witness that was mined', async () => {
  await using node = await Regtest.start({ zmq: false })
  const [coin] = await makeCoins(node, 1)
  const signed = await spend(node, [coin!])
  const [hash] = await node.mine(1)
  await node.mine(2)
  await using proxy = await NodeLine.before(node)
  // In the last bytes of a segwit transaction: its public key, which no txid covers.
  const raw = Buffer.from(signed.hex, 'hex')
  proxy.fate = damage(hash!, (block) => block.indexOf(raw) + raw.length - 8)
  await using tracker = await start(node, proxy)
  await tracker.caughtUp(node)
  using wallet = await Wallet.open(tracker)
  const [told] = await wallet.subscribe([coin!])
  assert.equal(told?.state, 'confirmed')
  assert.equal(Buffer.from(told.tx!).toString('hex'), signed.hex)
})

test('a proof that proves nothing is not handed on, nor kept', async () => {
  await using node = await Regtest.start({ zmq: false })
  const { outpoint } = await node.fundBond({ key: bondKey('f'), format: 'D', address: `${onionHost('f')}:21` })
  await node.mine(1)
  await using proxy = await NodeLine.before(node)
  await using tracker = await start(node, proxy)
  await tracker.caughtUp(node)
  const changed = (answer: Answer): Answer => {
    const replies = JSON.parse(answer.body.toString()) as { result: string }[]
    const proof = Buffer.from(replies[2]!.result, 'hex')
    proof[90]! ^= 1 // in the first hash of the tree
    replies[2]!.result = proof.toString('hex')
    return { ...answer, body: Buffer.from(JSON.stringify(replies)) }
  }
  proxy.fate = ({ calls }) => (calls.some(({ method }) => method === 'gettxoutproof') ? { change: changed } : undefined)
  await assert.rejects(tracker.ask({ type: 'BondProof', outpoint }, 'BondProof'), /busy/)
  proxy.calm()
  const { height } = await tracker.ask({ type: 'BondProof', outpoint }, 'BondProof')
  assert.equal(height, await node.height())
})

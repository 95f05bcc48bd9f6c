/**
 * A maker's proof against a real chain, as a prober would judge it. Method: fund a bond, let makers of several releases
 * offer it over a socket, and take the facts from bitcoind: while it is unconfirmed, confirmed, past its lock, and spent.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Transaction } from 'bitcoinjs-lib'
import { findAnnouncement } from '../../src/bonds/announcement.ts'
import type { ProofFacts, ProofVerdict } from '../../src/bonds/proof.ts'
import { verifyProof } from '../../src/bonds/verify-proof.ts'
import { asSats, formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { DIALECT, DIALECT_LIMITS } from '../../src/peers/dialects.ts'
import type { DialectName, Offer } from '../../src/peers/types.ts'
import { exchange } from '../../src/wire/client.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { LIES, type LieName } from '../sandbox/lies.ts'
import { type MakerPlan, serveMaker } from '../sandbox/maker-server.ts'
import type { Release } from '../sandbox/offer.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'

const ADDRESS = '127.0.0.1:6102'
const KEY = bondKey('x')

/** What bitcoind says about an outpoint that is the bond's, or is nobody's. */
async function factsOf(node: Regtest, bond: FundedBond, outpoint: Outpoint): Promise<ProofFacts> {
  const tipHeight = await node.height()
  const rules = { tipHeight, lockBlocks: { min: 1, max: 25_920 } }
  if (formatOutpoint(outpoint) !== formatOutpoint(bond.outpoint)) {
    return { ...rules, output: undefined, announcement: undefined }
  }
  const unspent = (includeMempool: boolean) =>
    node.rpc<{ confirmations: number } | null>('gettxout', outpoint.txid, outpoint.vout, includeMempool)
  const confirmed = await unspent(false)
  const tx = Transaction.fromHex(bond.hex)
  const { value, script } = tx.outs[outpoint.vout]!
  return {
    ...rules,
    output: {
      amountSats: asSats(value),
      scriptPubKey: script,
      confHeight: confirmed ? tipHeight - confirmed.confirmations + 1 : undefined,
      isUnspent: (await unspent(true)) !== null,
    },
    announcement: findAnnouncement(tx, { allowTestAddresses: true }),
  }
}

async function fetchOffer(t: TestContext, name: DialectName, port: number): Promise<Offer> {
  const socket = connect({ host: '127.0.0.1', port })
  t.after(() => socket.destroy())
  const { asks, prefix } = DIALECT[name]
  for (const ask of asks) {
    const options = {
      timeoutMs: 10_000,
      replyBytesMax: DIALECT_LIMITS.replyBytesMax,
      ...(prefix === undefined ? {} : { prefix }),
    }
    const read = ask.read(await exchange(socket, ask.request({ host: 'x.onion', port: 1 }), options))
    assert(read.ok, JSON.stringify(read))
    if (read.reply.type === 'offer') return read.reply.offer
  }
  throw new Error(`${name} brings no offer`)
}

test('a proof follows its bond from the mempool to its end, and lies are found out on a real chain', async (t) => {
  await using node = await Regtest.start()
  const bond = await node.fundBond({ key: KEY, format: 'B', address: ADDRESS, lockBlocks: 4 })
  const confHeight = (await node.height()) + 1

  const judge = async (dialect: DialectName, plan: MakerPlan = {}): Promise<ProofVerdict> => {
    const offered = { ...bond, confHeight, certAddress: ADDRESS }
    const otherKey = bondKey('x', 1)
    await using maker = await serveMaker({ ...plan, listenPort: 0, bond: offered, otherKey, pongAddress: ADDRESS })
    const offer = await fetchOffer(t, dialect, maker.port)
    return verifyProof(offer.proof, offer, await factsOf(node, bond, offer.proof.outpoint), ADDRESS)
  }
  const failed = async (plan: MakerPlan = {}) => {
    const verdict = await judge('unified', plan)
    return verdict.ok ? 'ok' : verdict.failed
  }

  assert.equal(await failed(), 'unconfirmed')
  await node.mine(1)
  assert.deepEqual(await judge('unified'), { ok: true, era: 'tweak-point' })
  const before: [Release, DialectName][] = [
    ['0.1.3', 'legacy-prefixed'],
    ['0.1.3-taproot', 'taproot-prefixed'],
    ['0.2.0', 'legacy'],
    ['0.2.1', 'unified'],
  ]
  for (const [release, dialect] of before) {
    assert.deepEqual(await judge(dialect, { release }), { ok: true, era: 'expiry' }, release)
  }

  await node.mine(2)
  for (const lie of Object.keys(LIES) as LieName[]) {
    assert.equal(await failed({ lie }), LIES[lie].breaks ?? 'ok', lie)
  }

  await node.mine(2)
  assert.equal(await node.height(), bond.lockHeight)
  assert.equal(await failed(), 'ok', 'takers accept it up to its height')
  await node.spendBond(bond)
  assert.equal(await failed(), 'spent', 'a spend in the mempool is enough')
  await node.mine(1)
  assert.equal(await failed(), 'spent')
})

test('a bond that is not spent when its lock passes is no longer accepted', async (t) => {
  await using node = await Regtest.start()
  const bond = await node.fundBond({ key: KEY, format: 'B', address: ADDRESS, lockBlocks: 1 })
  await node.mine(1)
  const confHeight = await node.height()
  const offered = { ...bond, confHeight, certAddress: ADDRESS }
  await using maker = await serveMaker({ listenPort: 0, bond: offered, otherKey: KEY, pongAddress: ADDRESS })
  const offer = await fetchOffer(t, 'unified', maker.port)
  const judge = async () => verifyProof(offer.proof, offer, await factsOf(node, bond, bond.outpoint), ADDRESS)
  await node.mine(1)
  assert.deepEqual(await judge(), { ok: true, era: 'tweak-point' })
  await node.mine(1)
  const verdict = await judge()
  assert.equal(!verdict.ok && verdict.failed, 'lock-passed')
})

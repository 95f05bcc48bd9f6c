/**
 * What strangers who ask for proofs can cost bitcoind. Method: a database with bonds, and in bitcoind's place a far end
 * that answers when the test says so, and counts.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { asBlockHash, asSats, asTxid, type Outpoint, type TxProof } from '../../src/chain/types.ts'
import { PeerFault, TransientError } from '../../src/errors.ts'
import { insertBond } from '../../src/store/local/bonds.ts'
import { insertBlock } from '../../src/store/local/tip.ts'
import { type Db, openStore } from '../../src/store/open.ts'
import { BOND_PROOF_LIMITS, BondProofs } from '../../src/wire/bond-proofs.ts'
import { parseReply } from '../../src/wire/messages.ts'
import { WORK_LIMITS, Work } from '../../src/wire/work.ts'
import { HandClock } from '../support/wire.ts'

const hash = (i: number) => i.toString(16).padStart(64, '0')
const outpoint = (i: number): Outpoint => ({ txid: asTxid(hash(i)), vout: 0 })

/** `count` bonds in block 1. */
function storeWith(t: TestContext, count: number): Db {
  const dir = mkdtempSync(join(tmpdir(), 'ft-proofs-'))
  const { db } = openStore(dir, 'regtest')
  t.after(() => {
    db[Symbol.dispose]()
    rmSync(dir, { recursive: true, force: true })
  })
  insertBlock(db, { height: 1, hash: asBlockHash(hash(0xb1)), prevHash: asBlockHash(hash(0xb0)), timeS: 1 })
  for (let i = 0; i < count; i++) {
    const bond = { outpoint: outpoint(i), address: `127.0.0.1:${i + 1}`, format: 'A', isP2wsh: true } as const
    insertBond(db, { ...bond, amountSats: asSats(50_000) }, 1)
  }
  return db
}

/** Answers each call when `answer` is called. */
class FarEnd {
  asked = 0
  readonly #waiting: PromiseWithResolvers<TxProof | undefined>[] = []

  readonly txProof = (): Promise<TxProof | undefined> => {
    this.asked++
    const call = Promise.withResolvers<TxProof | undefined>()
    this.#waiting.push(call)
    return call.promise
  }

  get underWay(): number {
    return this.#waiting.length
  }

  async answer(proof: TxProof | undefined | Error): Promise<void> {
    const call = this.#waiting.shift()
    assert(call, 'nobody asks')
    if (proof instanceof Error) call.reject(proof)
    else call.resolve(proof)
    await new Promise(setImmediate)
  }
}

const work = new Work({ unitsPerS: 200, unitsBurst: 10_000 }, new HandClock())
const lane = () => work.lane(new AbortController().signal)
const PROOF: TxProof = { tx: Buffer.alloc(200), header: Buffer.alloc(80), merkle: Buffer.alloc(300) }
const code = (expected: string) => (error: unknown) => error instanceof PeerFault && error.code === expected

test('two at a time, and those who ask for much wait behind those who ask for little', async (t) => {
  const api = new FarEnd()
  const proofs = new BondProofs({ db: storeWith(t, 60), api })
  const greedy = lane()
  const order: string[] = []
  const all = Array.from({ length: 40 }, (_, i) => proofs.read(outpoint(i), greedy).then(() => order.push('greedy')))
  const modest = proofs.read(outpoint(50), lane()).then(() => order.push('modest'))
  assert.equal(api.asked, WORK_LIMITS.questionsAtOnce)
  for (let i = 0; i < 41; i++) {
    assert(api.underWay <= WORK_LIMITS.questionsAtOnce)
    await api.answer(PROOF)
  }
  await Promise.all([...all, modest])
  assert(order.indexOf('modest') <= WORK_LIMITS.questionsAtOnce, `it was number ${order.indexOf('modest') + 1}`)
})

test('the same proof is fetched once, however many ask; failures are not kept', async (t) => {
  const api = new FarEnd()
  const proofs = new BondProofs({ db: storeWith(t, 3), api })
  const first = [proofs.read(outpoint(0), lane()), proofs.read(outpoint(1), lane())]
  const waiting = [0, 1, 0, 1].map((i) => proofs.read(outpoint(i), lane()))
  await api.answer(PROOF)
  await api.answer(PROOF)
  assert.equal(api.asked, 2)
  await Promise.all([...first, ...waiting])
  assert.equal(await proofs.read(outpoint(0), lane()), await first[0], 'the same bytes')
  const reply = parseReply(await proofs.read(outpoint(0), lane()))
  assert(reply.type === 'BondProof' && reply.height === 1)

  const lost = assert.rejects(proofs.read(outpoint(2), lane()), code('busy'))
  await api.answer(new TransientError('bitcoind is away'))
  await lost
  const pruned = assert.rejects(proofs.read(outpoint(2), lane()), code('not_found'))
  await api.answer(undefined)
  await pruned
  const found = proofs.read(outpoint(2), lane())
  await api.answer(PROOF)
  await found
  await assert.rejects(proofs.read(outpoint(3), lane()), code('not_found'))
  assert.equal(api.asked, 5, 'an unknown bond costs bitcoind nothing')
})

test('proofs are kept up to a number of bytes; the one not asked for longest goes first', async (t) => {
  const api = new FarEnd()
  const proofs = new BondProofs({ db: storeWith(t, 5), api })
  const third: TxProof = { ...PROOF, tx: Buffer.alloc(Math.floor(BOND_PROOF_LIMITS.keptBytes / 3) - 1_000) }
  const read = async (i: number, proof: TxProof) => {
    const before = api.asked
    const reading = proofs.read(outpoint(i), lane())
    if (api.asked > before) await api.answer(proof)
    await reading
    return api.asked > before ? 'asked' : 'kept'
  }
  assert.deepEqual([await read(0, third), await read(1, third), await read(2, third)], ['asked', 'asked', 'asked'])
  assert.equal(await read(0, third), 'kept')
  assert.equal(await read(3, third), 'asked')
  assert.deepEqual([await read(0, third), await read(2, third), await read(3, third)], ['kept', 'kept', 'kept'])
  assert.equal(await read(1, third), 'asked', 'it had to go')
  const huge: TxProof = { ...PROOF, tx: Buffer.alloc(BOND_PROOF_LIMITS.keptBytes) }
  assert.deepEqual([await read(4, huge), await read(4, huge)], ['asked', 'asked'], 'told, not kept')
  assert.equal(await read(1, third), 'kept')
})

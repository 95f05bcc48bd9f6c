/**
 * A watcher on a real database and indexer, over a node that is a stand-in: its answers can be held back, and what it is
 * asked is counted.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transaction } from 'bitcoinjs-lib'
import pino from 'pino'
import type { Found } from '../../src/chain/mempool.ts'
import type { NodeApi } from '../../src/chain/node-reader.ts'
import { OutpointKeys } from '../../src/chain/outpoint-keys.ts'
import {
  asBlockHash,
  asTxid,
  type BlockHash,
  formatOutpoint,
  type Outpoint,
  type Spender,
  type Txid,
  toInternal,
} from '../../src/chain/types.ts'
import { PeerFault } from '../../src/errors.ts'
import { Indexer } from '../../src/indexer.ts'
import { openStore } from '../../src/store/open.ts'
import { SpendRecorder } from '../../src/watch/recorder.ts'
import { Subscription } from '../../src/watch/subscription.ts'
import { type WatchAnswer, Watcher, type WatchLimits } from '../../src/watch/watcher.ts'
import { type Lane, Work } from '../../src/wire/work.ts'
import { systemClock } from '../../src/world.ts'

export const hash = (height: number, branch = 0) =>
  asBlockHash(`${branch}`.padStart(2, '0').repeat(4) + height.toString(16).padStart(56, '0'))
export const outpoint = (n: number): Outpoint => ({ txid: asTxid(n.toString(16).padStart(64, '0')), vout: n % 3 })

/** A transaction that spends `spent`, one or many, told apart by `n`. */
export function spenderOf(spent: Outpoint | readonly Outpoint[], n: number, bytes = 0): Spender {
  const tx = new Transaction()
  tx.version = 2
  for (const { txid, vout } of [spent].flat()) tx.addInput(toInternal(txid), vout, n)
  tx.addOutput(Buffer.concat([Buffer.of(0x51), Buffer.alloc(bytes)]), 1_000n)
  return { txid: asTxid(tx.getId()), vin: 0, rawTx: Buffer.from(tx.toBuffer()) }
}

export interface Setup extends Disposable {
  api: NodeApi
  indexer: Indexer
  recorder: SpendRecorder
  watcher: Watcher
  work: Work
  /** Of one client. */
  lane: Lane
  /** What the node says: by outpoint of `outpoint(n)`; absent when it isn't there. */
  found: Map<Txid, Found>
  /** What a stranger is told. */
  ask(outpoints: readonly Outpoint[], lane?: Lane): Promise<WatchAnswer>
  /** The node has had this transaction in its mempool since before anybody asked. */
  spentInMempool(outpoint: Outpoint, by: Spender): void
  /** Blocks by hash: who spends what. */
  blocks: Map<BlockHash, Spender[]>
  heights: Map<BlockHash, number>
  /** Called for every look, before it answers. */
  onLook: () => Promise<void> | void
  looks: number
  /** Outpoints that it was asked about, block reads and raw transactions. */
  asked: { outpoints: number; atOnce: number; blocks: number; transactions: number }
  /** Statements prepared so far whose text matches: one each time that one is run. */
  statements(text: RegExp): number
  connect(height: number, spenders?: Spender[], options?: { branch?: number; withTxids?: boolean }): Promise<void>
  settle(): Promise<void>
  mempool(added: Spender[], removed?: Txid[]): Promise<void>
}

export function setUp(limits: Partial<WatchLimits> = {}): Setup {
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-watch-'))
  const { db, identity } = openStore(dataDir, 'regtest')
  const statements: string[] = []
  const prepare = db.prepare.bind(db)
  db.prepare = (text) => {
    statements.push(text)
    return prepare(text)
  }
  const keys = new OutpointKeys(identity.keySalt)
  const options = {
    network: 'regtest' as const,
    allowTestAddresses: false,
    retentionBlocks: 100,
  }
  const recorder = new SpendRecorder(db, identity.keySalt, systemClock)
  const indexer = new Indexer(db, recorder, options)
  const raws = new Map<Txid, Buffer>()
  const inputsOf = (raw: Buffer): Outpoint[] =>
    Transaction.fromBuffer(raw).ins.map(({ hash: id, index }) => ({
      txid: asTxid(Buffer.from(id).reverse().toString('hex')),
      vout: index,
    }))
  const wordsOf = (spenders: readonly Spender[]) =>
    Uint32Array.from(
      spenders.flatMap(({ rawTx }) => inputsOf(rawTx).flatMap((spent) => [keys.of(spent).hi, keys.of(spent).lo])),
    )
  let best = hash(0)
  const api = {
    async look(outpoints: readonly Outpoint[]) {
      setup.looks++
      setup.asked.outpoints += outpoints.length
      setup.asked.atOnce = Math.max(setup.asked.atOnce, outpoints.length)
      const found = outpoints.map(({ txid }) => setup.found.get(txid) ?? { kind: 'absent' as const })
      const at = best
      await setup.onLook()
      return { at, found }
    },
    async spendersInBlock(id: BlockHash, outpoints: readonly Outpoint[]) {
      setup.asked.blocks++
      const spends = new Map(
        (setup.blocks.get(id) ?? []).flatMap((by) =>
          inputsOf(by.rawTx).map((spent, vin) => [formatOutpoint(spent), { ...by, vin }] as const),
        ),
      )
      return outpoints.map((wanted) => spends.get(formatOutpoint(wanted)))
    },
    async inputsInBlock(id: BlockHash, positions: readonly number[]) {
      setup.asked.blocks++
      const inputs = (setup.blocks.get(id) ?? []).flatMap((by) =>
        inputsOf(by.rawTx).map((spent, vin) => ({ outpoint: spent, by: { ...by, vin } })),
      )
      return positions.map((position) => inputs[position])
    },
    async mempoolTransaction(txid: Txid) {
      setup.asked.transactions++
      return raws.get(txid)
    },
    async blockHeight(id: BlockHash) {
      return setup.heights.get(id)!
    },
  } as unknown as NodeApi
  const log = pino({ level: 'silent' })
  const work = new Work({ unitsPerS: 1e9, unitsBurst: 1e9 }, systemClock)
  const forever = new AbortController().signal
  const watcher = new Watcher({
    clock: systemClock,
    random: Math.random,
    log,
    db,
    indexer,
    recorder,
    api,
    lane: work.lane(forever),
    limits: {
      outpointsMax: 5_000,
      subscriptionsPerConnection: 5_000,
      subscriptionsMax: 5_000,
      registrationsPerConnection: 5_000,
      watchesMax: 5_000,
      ...limits,
    },
  })
  const setup: Setup = {
    api,
    indexer,
    recorder,
    watcher,
    work,
    lane: work.lane(forever),
    ask: (outpoints, lane = setup.lane) => watcher.watchMany(outpoints, lane, new Subscription(() => {})),
    spentInMempool(spent, by) {
      setup.found.set(spent.txid, { kind: 'mempool', by: by.txid })
      raws.set(by.txid, by.rawTx)
    },
    found: new Map(),
    blocks: new Map(),
    heights: new Map(),
    onLook: () => {},
    looks: 0,
    asked: { outpoints: 0, atOnce: 0, blocks: 0, transactions: 0 },
    statements: (text) => statements.filter((one) => text.test(one)).length,
    async connect(height, spenders = [], { branch = 0, withTxids = true } = {}) {
      const id = hash(height, branch)
      setup.blocks.set(id, spenders)
      best = id
      const prevHash = indexer.tip()?.hash ?? hash(height - 1)
      const block = { hash: id, prevHash, timeS: 1_700_000_000 + height, bytes: 0, transactions: 1, candidates: [] }
      const txids = withTxids && { txids: new Uint8Array() }
      await indexer.connect([{ block: { ...block, ...txids, spent: wordsOf(spenders) }, height }], height, api)
    },
    settle: () => setup.mempool([]),
    async mempool(added, removed = []) {
      for (const { txid, rawTx } of added) raws.set(txid, rawTx)
      const scanned = added.map((spender) => ({ txid: spender.txid, spent: wordsOf([spender]) }))
      const settledAt = indexer.tip()?.hash
      const changes = {
        added: scanned,
        removed,
        isComplete: true,
        isWithheld: false,
        size: 0,
        ...(settledAt && { settledAt }),
      }
      await indexer.applyMempool(changes, api)
    },
    [Symbol.dispose]() {
      db[Symbol.dispose]()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
  return setup
}

export const batch = (from: number, count: number) => Array.from({ length: count }, (_, i) => outpoint(from + i))
export const turn = () => new Promise((resolve) => setImmediate(resolve))

/** The watcher's loops, until the setup is thrown away. */
export function run(setup: Setup): AsyncDisposable {
  const stopping = new AbortController()
  const running = setup.watcher.run(stopping.signal)
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('stop'))
      await running
    },
  }
}

/** A subscriber that takes what it is told at once. */
export function listener(setup: Setup): { subscription: Subscription; told: string[] } {
  const told: string[] = []
  const subscription: Subscription = new Subscription((entry) => {
    const spend = setup.watcher.news(entry, subscription)
    if (spend) told.push(`${entry.name.slice(60)} ${spend.state}`)
  })
  return { subscription, told }
}

export const fault = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof PeerFault && error.code === code && message.test(error.message)

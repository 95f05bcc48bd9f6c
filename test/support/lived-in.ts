/**
 * A data directory as months of running leave it, with everything that the chain can't give again: registrations and a
 * registered coin's spend, makers with their history, an onion key. And whether all of it is still there.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import Database from 'better-sqlite3'
import { asTxid, type Outpoint } from '../../src/chain/types.ts'
import { openOnionKey } from '../../src/tor/key.ts'
import type { Regtest } from '../sandbox/regtest.ts'
import { Tracker, type TrackerOptions } from '../sandbox/tracker.ts'
import { makeCoins, spend } from './coins.ts'
import { onionHost } from './onions.ts'

const MAKERS = 30
const PROBES = 60
const HOURS = 200
/** So many registrations that they take several pages. */
export const REGISTERED = 400

/** Starts a daemon on a new data directory, lets it live, and returns it stopped. */
export async function livedIn(node: Regtest, options: TrackerOptions = {}): Promise<Tracker> {
  const tracker = await Tracker.start(node, options)
  const [coin] = await makeCoins(node, 1)
  await tracker.caughtUp(node)
  await register(tracker, [coin!, ...Array.from({ length: REGISTERED - 1 }, (_, i) => outpoint(`watch-${i}`))])
  await spend(node, [coin!])
  await node.mine(1)
  await tracker.caughtUp(node)
  assert.equal(await tracker.stop(), 0)
  openOnionKey(join(tracker.dataDir, 'onion.key'))
  writeHistory(join(tracker.dataDir, 'tracker.sqlite'))
  return tracker
}

/** The same, launched again and stopped by kill -9: it has a WAL, with one registration more. */
export async function killed(node: Regtest): Promise<Tracker> {
  const tracker = await livedIn(node)
  tracker.launch()
  await tracker.caughtUp(node)
  await register(tracker, [outpoint('in the WAL')])
  await tracker.stop('SIGKILL')
  return tracker
}

export function register(tracker: Tracker, outpoints: Outpoint[]) {
  return tracker.ask({ type: 'Register', outpoints, ttlBlocks: 10_000 }, 'Registered')
}

export function outpoint(name: string): Outpoint {
  return { txid: asTxid(createHash('sha256').update(name).digest('hex')), vout: 0 }
}

function writeHistory(file: string): void {
  const db = new Database(file)
  const nowMs = Date.now()
  const hour = Math.floor(nowMs / 3_600_000)
  const maker = db.prepare(
    'INSERT INTO makers (id, address, last_probe_ms, last_up_ms, failures) VALUES (?, ?, ?, ?, 0)',
  )
  const probe = db.prepare("INSERT INTO probes (maker_id, at_ms, outcome, latency_ms) VALUES (?, ?, 'answered', 900)")
  const hours = db.prepare("INSERT INTO probe_hours VALUES (?, ?, '4711', 6, 0, 0)")
  db.transaction(() => {
    for (let id = 1; id <= MAKERS; id++) {
      maker.run(id, `${onionHost(`maker-${id}`)}:6102`, nowMs, nowMs)
      for (let i = 0; i < PROBES; i++) probe.run(id, nowMs - i * 600_000)
      for (let i = 0; i < HOURS; i++) hours.run(id, hour - i)
      db.prepare('INSERT INTO offers VALUES (?, ?, 100, 0.5, 0.25, 1, 10, 10000, 9000000, NULL, NULL)').run(id, nowMs)
    }
    db.prepare("INSERT INTO relays (id, url, delays, faults) VALUES (1, 'wss://relay.example', '[60]', '{}')").run()
    const relayHours = db.prepare('INSERT INTO relay_hours VALUES (1, ?, 20, 3, 1, 7)')
    for (let i = 0; i < HOURS; i++) relayHours.run(hour - i)
    db.prepare("INSERT INTO proofs VALUES (?, 0, ?, 'today', 'offer', ?)").run(
      Buffer.alloc(32, 7),
      Buffer.alloc(32, 8),
      nowMs,
    )
  })()
  db.close()
}

/** What the chain can't give again, by table, in the order of their keys. */
const KEPT = {
  watches: 'SELECT hex(txid), vout, until_height FROM watches ORDER BY txid, vout',
  spends: `SELECT hex(s.txid), s.vout, hex(s.spender_txid), s.vin, hex(t.raw_tx), t.first_seen_s FROM spends s
           JOIN spenders t ON t.txid = s.spender_txid JOIN watches w ON w.txid = s.txid AND w.vout = s.vout ORDER BY 1, 2`,
  makers: 'SELECT id, address, last_probe_ms, last_up_ms FROM makers ORDER BY id',
  offers: 'SELECT * FROM offers ORDER BY maker_id',
  proofs: 'SELECT hex(txid), vout, hex(conf_hash), era, source, at_ms FROM proofs ORDER BY txid, vout',
  probes: 'SELECT maker_id, at_ms, outcome, latency_ms FROM probes ORDER BY maker_id, at_ms',
  probe_hours: 'SELECT maker_id, hour, answered, failed, unjudged FROM probe_hours ORDER BY maker_id, hour',
  relays: 'SELECT id, url FROM relays ORDER BY id',
  relay_hours: 'SELECT * FROM relay_hours ORDER BY relay_id, hour',
} as const

export type Kept = { [T in keyof typeof KEPT]: unknown[] } & { onionKey: string | undefined }

export function keptOf(dataDir: string): Kept {
  const db = new Database(join(dataDir, 'tracker.sqlite'), { readonly: true })
  const key = join(dataDir, 'onion.key')
  try {
    const rows = Object.entries(KEPT).map(([table, query]) => [table, db.prepare(query).all()])
    return { ...Object.fromEntries(rows), onionKey: existsSync(key) ? readFileSync(key, 'utf8') : undefined }
  } finally {
    db.close()
  }
}

/** Everything of `before` is still there. */
export function assertKept(dataDir: string, before: Kept): void {
  const now = keptOf(dataDir)
  // Not deepEqual of all: the differences of thousands of rows take minutes and gigabytes to tell.
  for (const [table, rows] of Object.entries(before)) {
    const kept = now[table as keyof Kept]
    const counts = [rows, kept].map((some) => (Array.isArray(some) ? `${some.length} rows` : 'a key'))
    assert.ok(isDeepStrictEqual(kept, rows), `${table}: ${counts[0]} before, ${counts[1]} now`)
  }
}

/**
 * PostgreSQL's primary dies under load and its standby is promoted. With synchronous replication nothing that was said to be
 * registered is lost, and lists are served throughout.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { asTxid, formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import { DATABASE } from '../sandbox/postgres.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { Fleet, knows, lonely, register, registrationsAt, sharedEnv } from '../support/fleet.ts'

const CLIENTS = 12

/** Clients that register one outpoint after the other, anywhere, and one that asks each tracker for the list. */
class Load {
  readonly registered: Outpoint[] = []
  refused = 0
  lists = 0
  /** What a list or a registration was answered that it may not be. */
  readonly faults: string[] = []
  readonly #stop = new AbortController()
  readonly #working: Promise<void>[]

  constructor(trackers: readonly Tracker[]) {
    this.#working = [
      ...Array.from({ length: CLIENTS }, (_, client) => this.#register(trackers, client)),
      ...trackers.map((tracker) => this.#list(tracker)),
    ]
  }

  async #register(trackers: readonly Tracker[], client: number): Promise<void> {
    for (let n = 1; !this.#stop.signal.aborted; n++) {
      const txid = asTxid((1_000_000 * (client + 1) + n).toString(16).padStart(64, '0'))
      const outpoint = { txid, vout: 0 }
      try {
        await register(trackers[(client + n) % trackers.length]!, [outpoint])
        this.registered.push(outpoint)
      } catch (error) {
        if (!/"busy"/.test(String(error))) this.faults.push(String(error))
        this.refused++
        await pause(20)
      }
    }
  }

  async #list(tracker: Tracker): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const startMs = performance.now()
      await tracker.addresses().catch((error) => this.faults.push(`Get: ${error}`))
      const tookMs = performance.now() - startMs
      if (tookMs > 10_000) this.faults.push(`Get took ${tookMs.toFixed(0)} ms`)
      this.lists++
      await pause(20)
    }
  }

  /** Waits for some more of them. */
  async goesOn(count: number): Promise<void> {
    const before = this.registered.length
    await waitUntil('registrations are answered', () => this.registered.length >= before + count, { timeoutMs: 60_000 })
  }

  async end(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#working)
  }
}

test('the primary dies under load and its standby takes over: nothing that was answered is lost', async (t) => {
  await using fleet = await Fleet.start(t, { count: 0 })
  const { postgres } = fleet
  const standby = await postgres.standby(t)
  await postgres.setSynchronous('*')
  for (let i = 0; i < 3; i++) await fleet.add({ env: sharedEnv(postgres.url({ others: [standby] })) })
  await fleet.together()
  const load = new Load(fleet.trackers)
  t.after(() => load.end())
  await load.goesOn(200)
  await postgres.kill()
  for (const tracker of fleet.trackers) await lonely(tracker)
  await standby.promote()
  await fleet.together()
  await load.goesOn(200)
  await load.end()
  assert.deepEqual(load.faults, [])
  assert(load.refused > 0, 'some came while nobody could be asked')
  const rows = await standby.psql("SELECT encode(txid, 'hex') FROM watches", DATABASE)
  const there = new Set(rows.split('\n'))
  assert.deepEqual(
    load.registered.filter(({ txid }) => !there.has(txid)).map(formatOutpoint),
    [],
    'committed at the standby',
  )
  for (const tracker of fleet.trackers) {
    await knows(tracker, load.registered)
    assert(registrationsAt(tracker).size >= load.registered.length)
  }
})

test('with a standby that is not synchronous the trackers put back what it has not seen', async (t) => {
  await using fleet = await Fleet.start(t, { count: 0 })
  const { postgres } = fleet
  const standby = await postgres.standby(t)
  for (let i = 0; i < 2; i++) await fleet.add({ env: sharedEnv(postgres.url({ others: [standby] })) })
  await fleet.together()
  const outpoints = [1, 2, 3].map((n) => ({ txid: asTxid(`${n}`.repeat(64)), vout: 0 }))
  await register(fleet.trackers[0]!, outpoints.slice(0, 1))
  await waitUntil(
    'the standby has it',
    async () => (await standby.psql('SELECT count(*) FROM watches', DATABASE)) === '1',
  )
  await standby.stop()
  await register(fleet.trackers[0]!, outpoints.slice(1))
  for (const tracker of fleet.trackers) await knows(tracker, outpoints)
  await postgres.kill()
  await standby.launch()
  assert.equal(await standby.psql('SELECT count(*) FROM watches', DATABASE), '1')
  await standby.promote()
  await fleet.together()
  await waitUntil('it has all of them', async () => {
    return (await standby.psql('SELECT count(*) FROM watches', DATABASE)) === '3'
  })
})

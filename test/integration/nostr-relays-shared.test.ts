/** Two trackers that share a store, and one relay: what is missing there is sent by one of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openStoreReadonly } from '../../src/store/open.ts'
import { readRelayRows } from '../../src/views/closed.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import type { SignedEvent } from '../sandbox/nostr/signed-event.ts'
import { PostgresServer } from '../sandbox/postgres.ts'
import { Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ReachableMarket } from '../support/reachable-market.ts'

const PATIENCE = { timeoutMs: 110_000 }

/** Authors of the events about a bond that the relay was sent. */
async function authorsOf(relay: Relay, txid: string): Promise<string[]> {
  const frames = (await relay.received()).map(({ text }) => JSON.parse(text))
  const events = frames.flatMap(([type, event]) => (type === 'EVENT' ? [event as SignedEvent] : []))
  return events.filter(({ kind, content }) => kind === 37_780 && content === `${txid}:0`).map(({ pubkey }) => pubkey)
}

const holder = async (postgres: PostgresServer, url: string) =>
  await postgres.psql(`SELECT holder FROM leases WHERE name = 'relay:${url}' AND until > now()`, 'market')

test('a missing bond is sent once; when who sent it is killed, the other sends the next', async (t) => {
  const postgres = await PostgresServer.start(t)
  await using node = await Regtest.start({ args: ['-txindex=1'] })
  await using market = await ReachableMarket.start(node)
  await using relay = await Relay.start()
  await market.announce(['alice'])
  await market.serve(['alice'])
  const env = { FIDELITY_TRACKER_SHARED_STORE: postgres.url() }
  const args = ['--nostr-relays', relay.url, '--nostr-publish']
  await using one = await market.tracker(args, { env, nostr: true }, 'one')
  await using two = await market.tracker(args, { env, nostr: true }, 'two')
  await waitUntil('it is sent', async () => (await authorsOf(relay, market.txid('alice'))).length > 0, PATIENCE)
  const keyOf = new Map<string, Tracker>()
  for (const tracker of [one, two]) {
    await tracker.caughtUp(node)
    const key = await waitUntil('its key is told', () => tracker.status()?.nostr?.pubkey, PATIENCE)
    keyOf.set(key, tracker)
  }
  const said = await waitUntil(
    'both have seen it there',
    async () =>
      [one, two].every((tracker) => announced(tracker) === 1) && (await authorsOf(relay, market.txid('alice'))),
    PATIENCE,
  )
  assert.equal(said.length, 1)
  assert.notEqual(await holder(postgres, relay.url), '')

  const sender = keyOf.get(said[0]!)!
  await sender.stop('SIGKILL')
  await market.announce(['bob'])
  await market.serve(['bob'])
  await node.mine(1)
  const next = await waitUntil(
    'the other sends it',
    async () => {
      const authors = await authorsOf(relay, market.txid('bob'))
      return authors.length > 0 && authors
    },
    PATIENCE,
  )
  assert.deepEqual(
    next.map((key) => keyOf.get(key) !== sender),
    [true],
  )
})

function announced(tracker: Tracker): number | null | undefined {
  using db = openStoreReadonly(tracker.dataDir)
  return readRelayRows(db, true)[0]?.announced
}

/**
 * Trackers that find each other at a relay: one says where it is, once an hour at most; another dials there and keeps it. A
 * relay that takes no such events, or a stranger who signs some, costs nothing else.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { RelayRow } from '../../src/views/schemas/relays.ts'
import type { TrackerRow } from '../../src/views/schemas/trackers.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { nowS, type SignedEvent, signEvent } from '../sandbox/nostr/signed-event.ts'
import { Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil as waitFor } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'
import { ReachableMarket } from '../support/reachable-market.ts'

const KIND = 38_178

const waitUntil: typeof waitFor = (what, predicate) => waitFor(what, predicate, { timeoutMs: 120_000 })

let node: Regtest
let market: ReachableMarket
let relay: Relay

before(async () => {
  node = await Regtest.start()
  market = await ReachableMarket.start(node)
  relay = await Relay.start()
  await market.announce(['alice'])
})
after(async () => {
  await relay?.[Symbol.asyncDispose]()
  await market?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function ofTrackers(at: Relay): Promise<SignedEvent[]> {
  const messages = (await at.received()).map(({ text }) => JSON.parse(text))
  return messages.flatMap(([type, event]) => (type === 'EVENT' && event.kind === KIND ? [event] : []))
}

const rows = async (tracker: Tracker): Promise<TrackerRow[]> =>
  (await ask(tracker.httpPort!, '/api/v1/trackers')).json.trackers
const relayRows = async (tracker: Tracker): Promise<RelayRow[]> =>
  (await ask(tracker.httpPort!, '/api/v1/relays')).json.relays

function foundTracker(tracker: Tracker, address: string): Promise<TrackerRow> {
  return waitUntil(`${address} is known`, async () => (await rows(tracker)).find((row) => row.address === address))
}

test('one says where it is, another finds it there; neither the next start nor a lie makes more of it', async () => {
  await using said = await market.tracker(['--nostr-relays', relay.url, '--nostr-publish'], {}, 'said')
  await said.caughtUp(node)
  const [event] = await waitUntil('it says where it is', async () => {
    const events = await ofTrackers(relay)
    return events.length > 0 && events
  })
  const { height, blockHash, digest } = await said.ask({ type: 'Status' }, 'Status')
  const address = `${onionHost('said')}:${said.port}`
  const tags = Object.fromEntries(event!.tags)
  assert.equal(event!.content, address)
  assert.deepEqual([tags.d, tags.n], ['fidelity-tracker:regtest', 'regtest'])
  assert.deepEqual(
    [tags.height, tags.block, tags.digest],
    [`${height}`, blockHash, Buffer.from(digest).toString('hex')],
  )
  assert.equal(Number(tags.expiration), event!.created_at + 10_800)

  const nowhere = `${onionHost('nowhere')}:8080`
  const lie = (content: string) =>
    signEvent({
      kind: KIND,
      content,
      created_at: nowS(),
      tags: [
        ['d', 'fidelity-tracker:regtest'],
        ['n', 'regtest'],
        ['expiration', String(nowS() + 600)],
      ],
    })
  await relay.store(lie(nowhere), lie('127.0.0.1:1'), lie('no address'))
  await using finder = await market.tracker(['--nostr-relays', relay.url], {}, 'finder')
  await finder.caughtUp(node)
  const row = await foundTracker(finder, address)
  assert.deepEqual([row.source, row.height], ['learnt', height])
  assert.ok((await rows(finder)).every((one) => one.address === address))
  const counted = await waitUntil('the relay is counted', async () =>
    (await relayRows(finder)).find(({ announced }) => announced !== null),
  )
  assert.deepEqual([counted.invalid, counted.dead], [0, 0], 'they are no bonds')

  // The first has been told of by nobody but itself, and within its hour nothing is said again.
  assert.equal(await said.stop(), 0)
  const before = await ofTrackers(relay)
  said.launch()
  await said.caughtUp(node)
  await waitUntil('it listens at the relay again', async () => (await relayRows(said))[0]?.state === 'live')
  await waitUntil('its canary is green', async () => (await ask(said.httpPort!, '/health/ready')).status === 200)
  assert.equal((await relayRows(said))[0]!.failure, null)
  assert.equal((await ofTrackers(relay)).length, before.length)
})

test('a relay that takes and gives no events of trackers is read and mended all the same', async () => {
  await using strict = await Relay.start()
  await strict.behave({ refuseKind: KIND })
  await market.serve(['alice'])
  await using tracker = await market.tracker(['--nostr-relays', strict.url, '--nostr-publish'], {}, 'strict')
  await tracker.caughtUp(node)
  await waitUntil('the missing bond is announced there', async () => (await relayRows(tracker))[0]?.announced === 1)
  await waitUntil('it was told of the tracker', async () => (await ofTrackers(strict)).length === 1)
  const [row] = await relayRows(tracker)
  assert.equal(row!.publishing!.refusal, null)
})

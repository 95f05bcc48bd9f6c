/**
 * What takers find at a relay, against the chain, and how it is mended. A relay written by others; makers that announce as
 * OpenSwap's do; a taker that knows only the relay. Some events are lost, some stale, some forged.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { RelayRow } from '../../src/views/schemas/relays.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { nowS, type SignedEvent, signEvent } from '../sandbox/nostr/signed-event.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Taker } from '../sandbox/nostr/sim-taker.ts'
import { chainOf } from '../sandbox/nostr/taker-rules.ts'
import { Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil as waitFor } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { startOddRelay } from '../support/odd-relays.ts'
import { onionHost } from '../support/onions.ts'
import { ReachableMarket } from '../support/reachable-market.ts'

const WELL = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']
const LOST = ['erin', 'frank']

/** Relays are tried again after seconds, and read whole every quarter of a minute. */
const waitUntil: typeof waitFor = (what, predicate, options) =>
  waitFor(what, predicate, { timeoutMs: 120_000, ...options })

let node: Regtest
let market: ReachableMarket
let relay: Relay

before(async () => {
  node = await Regtest.start({ args: ['-txindex=1'] })
  market = await ReachableMarket.start(node)
  relay = await Relay.start()
  await market.announce(['spent'], { lockBlocks: 2 })
  await market.announce([...WELL, 'liar', 'silent'])
  await market.serve(WELL)
  await market.serve(['liar'], { lie: 'amount' }) // up, and not proven
  await node.mine(1)
  await node.spendBond(market.bonds.get('spent')!)
  await node.mine(1)
})
after(async () => {
  await relay?.[Symbol.asyncDispose]()
  await market?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function rowOf(tracker: Tracker): Promise<RelayRow> {
  const { json } = await ask(tracker.httpPort!, '/api/v1/relays')
  return json.relays[0]
}

const counts = ({ announced, missing, dead, invalid }: RelayRow) => ({ announced, missing, dead, invalid })

test('the four counts are right, the mender restores exactly what is missing, and takers find every maker', async () => {
  for (const name of WELL) {
    if (LOST.includes(name)) continue
    const { isAccepted, attempts } = await announce(relay.url, makerEvent(market.txid(name)))
    assert.ok(isAccepted, JSON.stringify(attempts))
  }
  const never = '77'.repeat(32)
  const { id, ...honest } = makerEvent(market.txid('erin'))
  const { sig, ...unsigned } = makerEvent(market.txid('frank'))
  const stale = (txid: string, tags: string[][]) =>
    signEvent({ kind: 37780, content: `${txid}:0`, created_at: nowS(), tags: [['d', `fidelity:${txid}:0`], ...tags] })
  const forged: SignedEvent[] = [
    { ...honest, id: 'ab'.repeat(32) },
    { ...unsigned, sig: '00'.repeat(64) },
    stale(market.txid('erin'), [['expiration', String(nowS() - 60)]]),
    stale(market.txid('frank'), []),
    makerEvent(market.txid('frank'), { createdAtS: nowS() + 3_600 }),
    makerEvent(market.txid('liar'), { createdAtS: nowS() - 90_000 }),
  ]
  await relay.store(...forged, makerEvent(never), makerEvent(market.txid('spent')))

  await using tracker = await market.tracker(['--nostr-relays', relay.url, '--nostr-publish'])
  await tracker.caughtUp(node)
  const found = await waitUntil('the relay is counted', async () => {
    const row = await rowOf(tracker)
    return row.announced !== null && row
  })
  assert.deepEqual([found.dead, found.invalid], [2, forged.length], JSON.stringify(found))

  const mended = await waitUntil('what is missing is announced', async () => {
    const row = await rowOf(tracker)
    return row.announced === WELL.length && row.missing === 1 && row
  })
  assert.deepEqual(counts(mended), { announced: WELL.length, missing: 1, dead: 2, invalid: forged.length })
  assert.deepEqual(mended.missing_bonds, [`${market.txid('liar')}:0`])
  assert.equal(mended.invalid_by!.id + mended.invalid_by!.signature, 2)
  const sent = (await relay.received()).map(({ text }) => JSON.parse(text)).filter(([type]) => type === 'EVENT')
  const ofBonds = sent.map(([, event]) => event as SignedEvent).filter(({ kind }) => kind === 37_780)
  const ours = ofBonds.slice(WELL.length - LOST.length)
  assert.deepEqual(ours.map(({ content }) => content).sort(), LOST.map((name) => `${market.txid(name)}:0`).sort())

  const taker = await new Taker({ url: relay.url, chain: chainOf(node) }).run()
  const hosts = [...taker.found.values()].map(({ host }) => host).sort()
  assert.deepEqual(hosts, WELL.map((name) => onionHost(name)).sort())
})

test('a relay that refuses, is silent or keeps nothing is left alone for a while, and says so in its row', async () => {
  const words = [
    'rate-limited: slow down',
    'blocked: pubkey is not allowed to publish to this relay',
    'auth-required: who are you',
    'pow: required a difficulty >= 20',
    'restricted: members only',
  ]
  await using stack = new AsyncDisposableStack()
  const refusing = new Map<string, Relay>()
  for (const refuse of words) {
    const one = stack.use(await Relay.start())
    await one.behave({ refuse })
    refusing.set(refuse, one)
  }
  const forgetful = stack.use(await startOddRelay('forgetful'))
  const closing = stack.use(await startOddRelay('closes-on-event'))
  const urls = [...[...refusing.values()].map(({ url }) => url), forgetful.url, closing.url]
  await using tracker = await market.tracker(['--nostr-relays', urls.join(','), '--nostr-publish'])
  await tracker.caughtUp(node)
  const publishingAt = async (url: string) => {
    const { json } = await ask(tracker.httpPort!, '/api/v1/relays')
    return (json.relays as RelayRow[]).find((row) => row.url === url)!.publishing!
  }
  const kindsIn = (frames: readonly string[]): number[] =>
    frames.map((frame) => JSON.parse(frame)).flatMap(([type, event]) => (type === 'EVENT' ? [event.kind] : []))
  for (const [refuse, { url }] of refusing) {
    const told = await waitUntil('it refuses', async () => {
      const publishing = await publishingAt(url)
      return publishing.refusal !== null && publishing
    })
    assert.deepEqual([told.refusal, told.accepted], [refuse, 0])
    assert.ok(told.resumes_at! > nowS() + 30)
  }
  const closed = await waitUntil('it closes', async () => {
    const publishing = await publishingAt(closing.url)
    return publishing.refusal !== null && publishing
  })
  assert.deepEqual([closed.refusal, closed.accepted], ['it ended the connection when it got an event', 0])
  await waitUntil(
    'what it does not keep is noticed',
    async () => (await publishingAt(forgetful.url)).unserved === WELL.length,
  )
  assert.equal((await publishingAt(forgetful.url)).accepted, WELL.length)
  await waitUntil(
    'it is read again',
    async () => closing.received.filter((frame) => frame.startsWith('["REQ"')).length > 1,
  )
  // All have been offered one event, and not another since (a bond's, where the tracker's own was refused for good); the
  // forgetful one each bond once.
  for (const [refuse, one] of refusing) {
    const kinds = kindsIn((await one.received()).map(({ text }) => text))
    const isForGood = !refuse.startsWith('rate-limited')
    assert.equal(kinds.length, isForGood && kinds[0] !== 37_780 ? 2 : 1, `${refuse}: ${kinds}`)
  }
  assert.equal(kindsIn(closing.received).length, 1)
  assert.equal(kindsIn(forgetful.received).filter((kind) => kind === 37_780).length, WELL.length)
})

test('nothing is sent while our own list is not whole, nor without being asked to', async () => {
  await using quiet = await Relay.start()
  await using tracker = await market.tracker(['--nostr-relays', quiet.url])
  await tracker.caughtUp(node)
  const row = await waitUntil('it is counted', async () => {
    const now = await rowOf(tracker)
    return now.missing === WELL.length + 1 && now
  })
  assert.equal(row.publishing, null)
  await tracker.stop()
  await node.stop()
  tracker.launch()
  await waitUntil('it is read, and nothing is counted', async () => {
    const now = await rowOf(tracker).catch(() => undefined)
    return now?.state === 'live' && now.missing === null && now.announced === null
  })
  await node.launch()
  await waitUntil('it is counted again', async () => (await rowOf(tracker)).missing !== null)
  const frames = (await quiet.received()).map(({ text }) => text)
  assert.ok(frames.length > 0 && frames.every((text) => text.startsWith('["REQ"') || text.startsWith('["CLOSE"')))
})

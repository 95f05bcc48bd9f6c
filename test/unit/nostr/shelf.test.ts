/** What the door has: whole or held, each bond's event signed in its time, and each subscription's place in it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listMakers } from '../../../src/bonds/list.ts'
import type { ConfirmedBond } from '../../../src/bonds/types.ts'
import type { Following } from '../../../src/chain/following.ts'
import type { CurrentMarket, Market } from '../../../src/market.ts'
import type { NostrFilter } from '../../../src/nostr/filters.ts'
import { NostrSubscription } from '../../../src/nostr/nostr-subscription.ts'
import { Shelf } from '../../../src/nostr/shelf.ts'
import { eventSigner } from '../../../src/nostr/signatures.ts'
import { Secret } from '../../../src/secret.ts'
import { WIRE_LIMITS } from '../../../src/wire/limits.ts'
import { Work } from '../../../src/wire/work.ts'
import { waitUntil } from '../../sandbox/wait.ts'
import { aBond, outpointOf, tipAt } from '../../support/bonds.ts'
import { HandClock } from '../../support/wire.ts'

const bond = (number: number) => aBond({ outpoint: outpointOf(number), address: `maker${number}.onion:21` })

/** A shelf whose market, clock and weather the test moves. */
class World implements AsyncDisposable {
  readonly clock = new HandClock()
  readonly following: Pick<Following, 'takenBack'> = { takenBack: undefined }
  notSynced: string | undefined
  readonly down = new Set<string>()
  news = 0
  readonly shelf: Shelf
  #revision = 0
  #market: Market | undefined
  readonly #stop = new AbortController()
  readonly #running: Promise<unknown>

  constructor() {
    const down = this.down
    const revision = () => this.#revision
    this.shelf = new Shelf({
      clock: this.clock,
      random: () => 0.5,
      market: { atTip: () => this.#market } as CurrentMarket,
      liveness: {
        reachOf: (address) => (down.has(address) ? 'down' : 'unknown'),
        get revision() {
          return revision()
        },
      },
      network: 'regtest',
      notSynced: () => this.notSynced,
      following: this.following,
      signer: eventSigner(new Secret('01'.repeat(32))),
    })
    const work = new Work(WIRE_LIMITS, this.clock)
    const { signal } = this.#stop
    this.#running = this.shelf
      .run(work.lane(signal), signal, async () => {
        this.news++
      })
      .catch((error: unknown) => error)
  }

  lists(...bonds: ConfirmedBond[]): this {
    this.#market = { list: listMakers(bonds, tipAt(100_100)) } as Market
    return this
  }

  reachChanged(): void {
    this.#revision++
  }

  async whole(): Promise<void> {
    await waitUntil('the shelf is whole', () => this.shelf.isWhole(), { everyMs: 1 })
  }

  get txids(): string[] {
    return this.shelf
      .newest()
      .map(({ txid }) => txid)
      .sort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('the test is over', 'AbortError'))
    await this.#running
  }
}

const txidsOf = (...bonds: ConfirmedBond[]) => bonds.map(({ outpoint }) => outpoint.txid).sort()

test('it has what is on the market, and is not whole before it has', async () => {
  await using world = new World()
  assert.equal(world.shelf.isWhole(), false, 'nothing scanned yet')
  world.lists(bond(1), bond(2))
  assert.equal(world.shelf.isWhole(), false, 'not signed yet')
  await world.whole()
  assert.deepEqual(world.txids, txidsOf(bond(1), bond(2)))
  world.lists(bond(2), bond(3))
  assert.equal(world.shelf.isWhole(), false)
  assert.equal(world.shelf.of(bond(1).outpoint.txid), undefined, 'gone at once')
  await world.whole()
  assert.deepEqual(world.txids, txidsOf(bond(2), bond(3)))
  world.lists()
  assert.ok(world.shelf.isWhole(), 'nothing is whole, too')
})

test('while behind, or in a reorg, it is not whole and keeps what it has', async () => {
  await using world = new World()
  await world.lists(bond(1)).whole()
  world.notSynced = 'behind'
  world.lists(bond(2))
  assert.equal(world.shelf.isWhole(), false)
  assert.deepEqual(world.txids, txidsOf(bond(1)))
  world.notSynced = undefined
  world.following.takenBack = { depth: 1 } as NonNullable<Following['takenBack']>
  assert.equal(world.shelf.isWhole(), false)
  world.following.takenBack = undefined
  await world.whole()
  assert.deepEqual(world.txids, txidsOf(bond(2)))
})

test('who asked in a moment when it was not whole is told once it is, however short the moment was', async () => {
  await using world = new World()
  await world.lists(bond(1)).whole()
  await waitUntil('that is news', () => world.news === 1)
  world.notSynced = 'behind'
  assert.equal(world.shelf.isWhole(), false)
  world.notSynced = undefined
  await waitUntil('that is news', () => world.news === 2)
  world.lists(bond(1), bond(2))
  assert.equal(world.shelf.isWhole(), false)
  world.lists(bond(1))
  await waitUntil('that is news', () => world.news === 3)
})

test('who is down is not announced, and is when it is back', async () => {
  await using world = new World()
  await world.lists(bond(1), bond(2)).whole()
  world.down.add(bond(1).address)
  world.reachChanged()
  await world.whole()
  assert.deepEqual(world.txids, txidsOf(bond(2)))
  world.down.clear()
  world.reachChanged()
  await world.whole()
  assert.deepEqual(world.txids, txidsOf(bond(1), bond(2)))
})

test('an event is signed anew within half an hour, and its bond keeps its place', async () => {
  await using world = new World()
  await world.lists(bond(1)).whole()
  const { txid } = bond(1).outpoint
  const first = world.shelf.of(txid)!
  world.clock.atMs += 1_300_000
  world.lists(bond(1), bond(2))
  await waitUntil('it has looked at everything', () => world.news === 2)
  assert.equal(world.shelf.of(txid), first, 'not before its time')
  world.clock.atMs += 100_000
  const second = await waitUntil('it is signed anew', () => {
    const now = world.shelf.of(txid)
    return now !== first && now
  })
  assert.equal(second.event.created_at, first.event.created_at + 1_400)
  assert.equal(second.arrival, first.arrival)
  assert.equal(world.news, 2, 'no news to who is subscribed')
  // The clock is set back: takers would take it for one from the future.
  world.clock.atMs -= 3_600_000
  await waitUntil('it is signed anew', () => world.shelf.of(txid)!.event.created_at < first.event.created_at)
})

/** All that a subscription is told, until there is no more. */
function told(subscription: NostrSubscription, { shelf }: World, count = 3): string[] {
  const events: string[] = []
  while (subscription.hasNext(shelf)) {
    const next = subscription.next(shelf, count)
    events.push(...next.events.map(({ txid }) => txid), ...(next.isEnd ? ['EOSE'] : []))
  }
  return events
}

const subscribe = (...filters: NostrFilter[]) => new NostrSubscription('"x"', filters, 10)

test('stored events newest first, then the end, then what comes, each once', async () => {
  await using world = new World()
  const all = [1, 2, 3, 4, 5, 6, 7].map(bond)
  for (let i = 1; i <= all.length; i++) {
    await world.lists(...all.slice(0, i)).whole()
    world.clock.atMs += 1_000
  }
  const newestFirst = all.map(({ outpoint }) => outpoint.txid).reverse()
  const everything = subscribe({})
  assert.deepEqual(told(everything, world), [...newestFirst, 'EOSE'])
  assert.deepEqual(told(everything, world), [])
  assert.deepEqual(told(subscribe({ limit: 2 }), world), [...newestFirst.slice(0, 2), 'EOSE'])
  const none = subscribe({ limit: 0 })
  assert.deepEqual(told(none, world), ['EOSE'])
  const oldest = world.shelf.newest().at(-1)!.event
  const either = subscribe({ limit: 1 }, { ids: [oldest.id], limit: 5 })
  assert.deepEqual(told(either, world), [newestFirst[0], newestFirst.at(-1), 'EOSE'])
  await world.lists(...all, bond(8), bond(9)).whole()
  const [eight, nine] = [bond(8), bond(9)].map(({ outpoint }) => outpoint.txid)
  assert.deepEqual(told(everything, world, 1), [eight, nine])
  assert.deepEqual(told(none, world), [eight, nine], 'a limit is of what is stored')
  assert.deepEqual(told(either, world), [eight, nine])
})

test('a slow reader is told what is so when its turn comes, and nothing is kept for it', async () => {
  await using world = new World()
  await world.lists(...[1, 2, 3, 4, 5].map(bond)).whole()
  const subscription = subscribe({})
  const first = subscription.next(world.shelf, 2)
  assert.equal(first.events.length, 2)
  const left = world.shelf.newest().slice(2)
  const gone = left[0]!.txid
  const bonds = [1, 2, 3, 4, 5].map(bond).filter(({ outpoint }) => outpoint.txid !== gone)
  await world.lists(...bonds, bond(6)).whole()
  assert.deepEqual(told(subscription, world), [...left.slice(1).map(({ txid }) => txid), 'EOSE', bond(6).outpoint.txid])
  await world.lists(...bonds, bond(6), bond(7)).whole()
  await world.lists(...bonds, bond(6)).whole()
  assert.deepEqual(told(subscription, world), [], 'it came and went')
  await world.lists(...bonds, bond(6), bond(7)).whole()
  assert.deepEqual(told(subscription, world), [bond(7).outpoint.txid])
})

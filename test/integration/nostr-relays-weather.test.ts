/**
 * Relays that fail in every way at once, beside one that is well: each says in its row what is wrong, in one sentence, and
 * the others go on. The well ones are by others; the odd ones are far ends made for it.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import type { RelayRow } from '../../src/views/schemas/relays.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Regtest } from '../sandbox/regtest.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil as waitFor } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { type Oddity, startOddRelay } from '../support/odd-relays.ts'
import { ReachableMarket } from '../support/reachable-market.ts'

/** A certificate and its key for this name, made by nobody whom anybody knows. */
const CERTIFICATE = new URL('../vectors/hooks.example.pem', import.meta.url)
const NAMED = 'hooks.example'

/** Relays are tried again after seconds, and read whole every quarter of a minute. */
const waitUntil: typeof waitFor = (what, predicate, options) =>
  waitFor(what, predicate, { timeoutMs: 120_000, ...options })

let node: Regtest
let market: ReachableMarket

before(async () => {
  node = await Regtest.start()
  market = await ReachableMarket.start(node)
  await market.announce(['alice', 'bob'])
  await market.serve(['alice', 'bob'])
})
after(async () => {
  await market?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function rows(tracker: Tracker): Promise<Map<string, RelayRow>> {
  const { status, json, text } = await ask(tracker.httpPort!, '/api/v1/relays')
  assert.equal(status, 200, text)
  return new Map((json.relays as RelayRow[]).map((row) => [row.url, row]))
}

const failureOf = (tracker: Tracker, url: string) => async () => (await rows(tracker)).get(url)?.failure

test('each failure is one sentence in its relay’s row, and the others are read', { timeout: 300_000 }, async () => {
  const oddities: Partial<Record<Oddity, RegExp>> = {
    moved: /^it says that it has moved to wss:\/\/elsewhere\.example\/: .*--nostr-relays$/,
    forbidden: /^it answers HTTP 403 where a WebSocket was asked for$/,
    rubbish: /^what it sent is no HTTP$/,
    huge: /^it sent a message of more than 1048576 bytes$/,
  }
  await using stack = new AsyncDisposableStack()
  const odd = new Map<string, RegExp>()
  for (const [oddity, sentence] of Object.entries(oddities)) {
    odd.set(stack.use(await startOddRelay(oddity as Oddity)).url, sentence)
  }
  const babbling = stack.use(await startOddRelay('babble'))
  const flooding = stack.use(await startOddRelay('flood'))
  const [well, silent, refusing, slow] = [
    stack.use(await Relay.start()),
    stack.use(await Relay.start()),
    stack.use(await Relay.start()),
    stack.use(await Relay.start()),
  ]
  await silent.behave({ isSilent: true })
  await refusing.behave({ refuseReq: 'auth-required: who are you', greetings: ['["AUTH","challenge"]'] })
  await slow.behave({ delayMs: 2_000 })
  for (const relay of [well, slow]) await announce(relay.url, makerEvent(market.txid('alice')))
  const nobody = 'ws://127.0.0.1:9'
  const unknown = 'wss://unknown.example'
  odd.set(refusing.url, /^it refuses to be read: auth-required: who are you$/)
  odd.set(nobody, /^127\.0\.0\.1:9: .*ECONNREFUSED/)
  odd.set(unknown, /^unknown\.example:443: /)
  const urls = [...odd.keys(), babbling.url, flooding.url, well.url, silent.url, slow.url]
  await using tracker = await market.tracker(['--nostr-relays', urls.join(',')])
  await tracker.caughtUp(node)

  for (const relay of [well, slow]) {
    const row = await waitUntil('it is read', async () => {
      const now = (await rows(tracker)).get(relay.url)
      return now?.announced !== null && now
    })
    assert.deepEqual([row.state, row.announced, row.missing, row.invalid], ['live', 1, 1, 0])
  }
  for (const [url, sentence] of odd) {
    assert.match(String(await waitUntil(`${url} fails`, failureOf(tracker, url))), sentence)
  }
  assert.deepEqual((await rows(tracker)).get(refusing.url)!.notices.toSorted(), [
    'AUTH: asks who we are, and is not told',
    'CLOSED: auth-required: who are you',
  ])
  const babbled = await waitUntil('what it says is passed over', async () => {
    const row = (await rows(tracker)).get(babbling.url)
    return row?.invalid !== null && row
  })
  assert.deepEqual(
    [babbled.state, babbled.invalid_by!.shape, babbled.invalid_by!.future, babbled.dead],
    ['live', 2, 1, 0],
    JSON.stringify(babbled),
  )
  assert.deepEqual(babbled.notices.slice(0, 2), ['NOTICE: ?[31mred ?', 'AUTH: asks who we are, and is not told'])

  await waitUntil('the flood is read slowly', async () => (await rows(tracker)).get(flooding.url)?.slowed)
  const memory = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${tracker.pid}/status`, 'latin1'))![1])
  assert.ok(memory < 400_000, `${memory} kB`)
  assert.ok(flooding.sent < 500_000, `${flooding.sent} frames were taken from it`)
  const noEose = await waitUntil('silence is noticed', failureOf(tracker, silent.url))
  assert.equal(noEose, 'it sent no EOSE within 60 s')
  assert.equal((await rows(tracker)).get(well.url)!.state, 'live')
})

test('wss through Tor: a certificate that nobody knows is one sentence, NODE_EXTRA_CA_CERTS opens it', async () => {
  const pem = readFileSync(CERTIFICATE, 'utf8')
  await using relay = await Relay.start({ tls: { key: pem, cert: pem } })
  const url = `wss://${NAMED}`
  market.lead(NAMED, Number(new URL(relay.url).port))
  {
    await using tracker = await market.tracker(['--nostr-relays', url])
    await tracker.caughtUp(node)
    const failure = String(await waitUntil('it is refused', failureOf(tracker, url)))
    assert.match(failure, /^its certificate can't be verified \(\w+\); NODE_EXTRA_CA_CERTS names /)
  }
  const asked = market.socks.asked.length
  await using tracker = await market.tracker(['--nostr-relays', `${url},ws://other.example`], {
    env: { NODE_EXTRA_CA_CERTS: CERTIFICATE.pathname },
  })
  await tracker.caughtUp(node)
  await waitUntil('it is read', async () => (await rows(tracker)).get(url)?.announced === 0)
  const relays = market.socks.asked.slice(asked).filter(({ host }) => /example$/.test(host))
  assert.ok(
    relays.every(({ addressType }) => addressType === 3),
    'names are left to Tor',
  )
  const usersOf = (name: string) => new Set(relays.filter(({ host }) => host === name).map(({ user }) => user))
  assert.ok(usersOf(NAMED).size >= 1 && usersOf('other.example').size >= 1)
  const shared = [...usersOf(NAMED)].filter((user) => usersOf('other.example').has(user))
  assert.deepEqual(shared, [], 'no circuit is shared by two relays')
})

test('killed, started again, without what it had: counts follow, and what is newer is all that is asked for', async () => {
  await using relay = await Relay.start()
  await announce(relay.url, makerEvent(market.txid('alice')))
  await announce(relay.url, makerEvent(market.txid('bob')))
  await using tracker = await market.tracker(['--nostr-relays', relay.url])
  await tracker.caughtUp(node)
  const row = async () => (await rows(tracker)).get(relay.url)!
  await waitUntil('it is read', async () => (await row()).announced === 2)
  await relay.kill()
  await waitUntil('it is gone', async () => (await row()).state === 'waiting')
  assert.deepEqual(
    [(await row()).announced, (await row()).failures],
    [2, 1],
    'what was seen there is not forgotten at once',
  )
  relay.forgetAll()
  await relay.launch()
  await waitUntil('everything is read anew', async () => (await row()).missing === 2)
  await announce(relay.url, makerEvent(market.txid('bob')))
  await waitUntil('bob is back', async () => (await row()).announced === 1)

  const before = (await relay.received()).length
  await tracker.stop()
  tracker.launch()
  await tracker.caughtUp(node)
  await waitUntil('it is read again', async () => (await row()).state === 'live')
  await waitUntil('and counted', async () => (await row()).announced === 1)
  const asked = (await relay.received()).slice(before).map(({ text }) => JSON.parse(text))
  assert.equal(asked[0][0], 'REQ')
  const { since } = asked[0][2]
  assert.ok(since > Date.now() / 1000 - 1_200, JSON.stringify(asked[0]))
})

test('how long a new bond takes to be seen at a relay; why names the relays that lack it', async () => {
  await using relay = await Relay.start()
  await using empty = await Relay.start()
  await using tracker = await market.tracker(['--nostr-relays', `${relay.url},${empty.url}`])
  await tracker.caughtUp(node)
  await waitUntil('both are read', async () =>
    [...(await rows(tracker)).values()].every(({ missing }) => missing === 2),
  )
  await market.announce(['carol'])
  await tracker.caughtUp(node)
  await waitUntil('it is missing', async () => (await rows(tracker)).get(relay.url)?.missing === 3)
  await announce(relay.url, makerEvent(market.txid('carol')))
  const seen = await waitUntil('it is seen', async () => {
    const row = (await rows(tracker)).get(relay.url)
    return row?.delay_s !== null && row?.announced === 1 && row
  })
  assert.deepEqual([seen.delays, seen.announced, seen.missing], [1, 1, 2])
  assert.ok(seen.delay_s! < 120)
  assert.equal((await rows(tracker)).get(empty.url)!.delay_s, null)
  const { address } = market.bonds.get('carol')!
  const { json: why } = await ask(tracker.httpPort!, `/api/v1/why/${address}`)
  const reason = why.reasons.find(({ code }: { code: string }) => code === 'not-on-relay')
  assert.ok(
    reason.text.startsWith(`no valid event at ${empty.url} announces the bond ${market.txid('carol')}:0`),
    reason.text,
  )
})

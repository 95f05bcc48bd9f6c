/**
 * The far ends that door and observer are tested against, themselves tested: the maker reads a relay's first frame as the
 * unmodified program was seen to (docs/nostr.md), the taker takes and leaves the same events, and the relay by others
 * forgets, refuses and holds what it is told to.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { bondKey } from '../sandbox/bond-key.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { nowS, type SignedEvent, signEvent } from '../sandbox/nostr/signed-event.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Taker } from '../sandbox/nostr/sim-taker.ts'
import { chainOf, type Era, type TakerChain } from '../sandbox/nostr/taker-rules.ts'
import { type BondPlan, type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'

const TXID = 'ab'.repeat(32)

/** A relay of a few lines, which answers every message by `answer`. */
async function startAnswering(answer: (socket: WebSocket, message: unknown[], headers: string[]) => void) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  server.on('connection', (socket, request) =>
    socket.on('message', (data) => answer(socket, JSON.parse(String(data)), request.rawHeaders)),
  )
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    url: `ws://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate()
      server.close()
      await once(server, 'close')
    },
  }
}

const OK = (id: string) => JSON.stringify(['OK', id, true, ''])

/** How the relay answers, and whether the maker takes that for a yes. */
const FIRST_FRAMES: [what: string, isAccepted: boolean, answer: (socket: WebSocket, id: string) => void][] = [
  ['OK', true, (socket, id) => socket.send(OK(id))],
  [
    'OK in two fragments',
    true,
    (socket, id) => {
      socket.send(OK(id).slice(0, 30), { fin: false })
      socket.send(OK(id).slice(30))
    },
  ],
  ['OK with another id', true, (socket) => socket.send(OK('0'.repeat(64)))],
  ['OK without a fourth element', false, (socket, id) => socket.send(JSON.stringify(['OK', id, true]))],
  ['OK with null as the fourth', false, (socket, id) => socket.send(JSON.stringify(['OK', id, true, null]))],
  ['OK false', false, (socket, id) => socket.send(JSON.stringify(['OK', id, false, 'blocked: no']))],
  ['OK as binary', false, (socket, id) => socket.send(Buffer.from(OK(id)))],
  [
    'a ping before OK',
    false,
    (socket, id) => {
      socket.ping()
      socket.send(OK(id))
    },
  ],
  [
    'a NOTICE before OK',
    false,
    (socket, id) => {
      socket.send(JSON.stringify(['NOTICE', 'hi']))
      socket.send(OK(id))
    },
  ],
  ['a close', false, (socket) => socket.close()],
]

for (const [what, isAccepted, answer] of FIRST_FRAMES)
  test(`a maker whose relay answers with ${what} ${isAccepted ? 'is content' : 'comes back twice with the same event'}`, async () => {
    const ids: unknown[] = []
    await using server = await startAnswering((socket, [, event]) => {
      const { id } = event as SignedEvent
      ids.push(id)
      answer(socket, id)
    })
    const event = makerEvent(TXID)
    const announced = await announce(server.url, event, { gapMs: 10 })
    assert.equal(announced.isAccepted, isAccepted, announced.attempts[0]?.refusal)
    assert.deepEqual(ids, Array(isAccepted ? 1 : 3).fill(event.id))
  })

test('the upgrade request has the market’s headers in their order, and the event its keys', async () => {
  const seen: { headers: string[]; keys: string[] }[] = []
  await using server = await startAnswering((socket, [, event], headers) => {
    seen.push({ headers: headers.filter((_, i) => i % 2 === 0), keys: Object.keys(event as object) })
    socket.send(OK(TXID))
  })
  await announce(server.url, makerEvent(TXID))
  assert.deepEqual(seen, [
    {
      headers: ['Host', 'Connection', 'Upgrade', 'Sec-WebSocket-Version', 'Sec-WebSocket-Key'],
      keys: ['content', 'created_at', 'id', 'kind', 'pubkey', 'sig', 'tags'],
    },
  ])
})

test('the relay by others takes what is signed rightly, refuses on demand, and keeps or forgets over a restart', async () => {
  await using relay = await Relay.start()
  const event = makerEvent(TXID)
  assert.equal((await announce(relay.url, event)).isAccepted, true)
  const forged = { ...makerEvent(TXID), sig: '0'.repeat(128) }
  assert.match((await announce(relay.url, forged, { gapMs: 0 })).attempts[0]!.refusal!, /^refused: invalid: /)

  for (const refuse of ['rate-limited: slow down', 'blocked: no', 'pow: 20 bits', 'auth-required: who are you']) {
    await relay.behave({ refuse })
    const { attempts } = await announce(relay.url, makerEvent(TXID), { gapMs: 0 })
    assert.deepEqual(
      attempts.map(({ refusal }) => refusal),
      Array(3).fill(`refused: ${refuse}`),
    )
  }
  await relay.behave({ greetings: ['["AUTH","challenge"]'] })
  assert.match((await announce(relay.url, makerEvent(TXID), { gapMs: 0 })).attempts[0]!.refusal!, /^not OK: .*AUTH/)
  await relay.behave({ isSilent: true })
  const silence = await announce(relay.url, makerEvent(TXID), { attemptsMax: 1, timeoutMs: 500 })
  assert.match(silence.attempts[0]!.refusal!, /^failed: nothing to read/)
  // One round accepted, one forged, four refused and one greeted three times each, one unanswered.
  assert.equal((await relay.received()).length, 1 + 3 + 4 * 3 + 3 + 1)

  await relay.behave({})
  await relay.store(forged)
  const ids = async () => (await relay.events()).map(({ id }) => id).sort()
  // The event under AUTH came in: what its maker read first was the greeting.
  const [stored] = [await ids()]
  assert.ok(stored.includes(forged.id) && stored.includes(event.id))
  await relay.kill()
  assert.match((await announce(relay.url, event, { gapMs: 0 })).attempts[0]!.refusal!, /^failed: .*ECONNREFUSED/)
  await relay.launch()
  assert.deepEqual(await ids(), stored)
  await relay.lose(forged.id)
  assert.deepEqual(
    await ids(),
    stored.filter((id) => id !== forged.id),
  )
  await relay.kill()
  relay.forgetAll()
  await relay.launch()
  assert.deepEqual(await ids(), [])
})

interface Deviation {
  what: string
  today: boolean
  b5fade03: boolean
  bond?: Partial<BondPlan>
  /** Of the event that a maker would sign. */
  deviate?: (event: SignedEvent) => SignedEvent
}

/** The event as it would be with this in it, signed anew. */
const resigned = (change: (event: SignedEvent) => Partial<SignedEvent>) => (event: SignedEvent) =>
  signEvent({ ...event, ...change(event) })
const expiring = (aheadS: number) =>
  resigned(({ tags }) => ({ tags: [tags[0]!, ['expiration', String(nowS() + aheadS)]] }))
const created = (aheadS: number) =>
  resigned(({ tags }) => ({ created_at: nowS() + aheadS, tags: [tags[0]!, ['expiration', String(nowS() + 1_000)]] }))
const both = (isTaken: boolean) => ({ today: isTaken, b5fade03: isTaken })

const DEVIATIONS: Deviation[] = [
  { what: 'none', ...both(true) },
  { what: 'signature of zeros', today: false, b5fade03: true, deviate: (e) => ({ ...e, sig: '0'.repeat(128) }) },
  { what: 'wrong id', today: false, b5fade03: true, deviate: (e) => ({ ...e, id: 'f'.repeat(64) }) },
  { what: 'no expiration', ...both(false), deviate: resigned(({ tags }) => ({ tags: [tags[0]!] })) },
  { what: 'expired', ...both(false), deviate: expiring(-60) },
  { what: 'no d', ...both(true), deviate: resigned(({ tags }) => ({ tags: [tags[1]!] })) },
  { what: 'tags turned round', ...both(true), deviate: resigned(({ tags }) => ({ tags: tags.toReversed() })) },
  { what: 'further tags', ...both(true), deviate: resigned(({ tags }) => ({ tags: [['t', 'x'], ...tags, ['y']] })) },
  { what: 'expires in 10 min', ...both(true), deviate: expiring(600) },
  { what: 'expires in 250 years', ...both(true), deviate: expiring(250 * 31_557_600) },
  { what: 'created 280 s ahead', ...both(true), deviate: created(280) },
  { what: 'created 600 s ahead', ...both(false), deviate: created(600) },
  { what: 'created 86,000 s ago', ...both(true), deviate: created(-86_000) },
  { what: 'created 86,500 s ago', ...both(false), deviate: created(-86_500) },
  {
    what: 'vout 1',
    today: false,
    b5fade03: true,
    deviate: resigned(({ content }) => ({ content: content.replace(/0$/, '1') })),
  },
  { what: 'no vout', ...both(false), deviate: resigned(({ content }) => ({ content: content.replace(/:0$/, '') })) },
  { what: 'upper case', ...both(true), deviate: resigned(({ content }) => ({ content: content.toUpperCase() })) },
  { what: 'spaces', ...both(true), deviate: resigned(({ content }) => ({ content: `  ${content} ` })) },
  { what: 'kind of signet', ...both(false), deviate: resigned(() => ({ kind: 37779 })) },
  { what: 'too small', today: false, b5fade03: true, bond: { amountSats: 9_999 } },
  { what: 'format C', today: false, b5fade03: true, bond: { format: 'C' } },
  { what: 'format A', ...both(false), bond: { format: 'A' } },
]
const PER_BLOCK = 12

test('a taker of either era finds exactly the makers that it should', async () => {
  await using node = await Regtest.start({ args: ['-txindex=1'] })
  await using relay = await Relay.start()
  const txids = new Map<string, string>()
  const fund = (what: string, plan: Partial<BondPlan> = {}): Promise<FundedBond> =>
    node.fundBond({ key: bondKey(what), format: 'D', address: `${onionHost(what)}:21`, ...plan })
  for (const [i, { what, bond, deviate = (event: SignedEvent) => event }] of DEVIATIONS.entries()) {
    const { txid } = await fund(what, bond)
    txids.set(what, txid)
    await relay.store(deviate(makerEvent(txid)))
    if (i % PER_BLOCK === PER_BLOCK - 1) await node.mine(1)
  }
  // Announced for longer than it is locked, so that it can be spent while its announcement holds.
  const spent = await fund('spent', { lockBlocks: 1, text: `${onionHost('spent').replace('.onion', '')}#15000` })
  txids.set('spent', spent.txid)
  await node.mine(2)
  await node.spendBond(spent)
  const unconfirmed = await fund('unconfirmed')
  txids.set('unconfirmed', unconfirmed.txid)
  await relay.store(makerEvent(spent.txid), makerEvent(unconfirmed.txid))

  const chain = chainOf(node)
  const takers = Object.fromEntries(
    (['today', 'b5fade03'] as const).map((era) => [era, new Taker({ url: relay.url, chain, era })]),
  ) as Record<Era, Taker>
  const foundBy = async (era: Era) => {
    const { found, hasEose } = await takers[era].run()
    assert.ok(hasEose)
    return [...txids].filter(([, txid]) => found.has(txid)).map(([what]) => what)
  }
  const expected = (era: Era) => DEVIATIONS.filter((row) => row[era]).map(({ what }) => what)
  assert.deepEqual(await foundBy('today'), expected('today'))
  assert.deepEqual(await foundBy('b5fade03'), [...expected('b5fade03'), 'spent', 'unconfirmed'])
  assert.ok(takers.today.events.every(({ isEchoed }) => isEchoed))

  // What was unconfirmed is looked at again when its event comes again; what was spent is not.
  await node.mine(1)
  const again = [makerEvent(unconfirmed.txid), makerEvent(spent.txid)]
  const leave = new AbortController()
  const staying = takers.today.run(leave.signal)
  try {
    await waitUntil('EOSE', () => takers.today.hasEose)
    await relay.store(...again)
    const verdicts = () => again.map(({ id }) => takers.today.events.find((event) => event.id === id)?.verdict)
    await waitUntil('the taker has both events', () => verdicts().every((verdict) => verdict !== undefined))
    // Perhaps found by the event it had got before, which its cursor brought again.
    assert.ok(['accepted', 'known'].includes(verdicts()[0]!), verdicts()[0])
    assert.equal(verdicts()[1], 'seen-before')
    const { lockHeight } = unconfirmed
    assert.deepEqual(takers.today.found.get(unconfirmed.txid), { host: onionHost('unconfirmed'), lockHeight })
    assert.match(takers.today.request, /"since":\d+\}\]$/, 'the next REQ asks from its cursor on')
  } finally {
    leave.abort()
    await staying
  }
})

test('EOSE with another subscription id counts for takers of b5fade03 alone', async () => {
  await using server = await startAnswering((socket, [, subscriptionId]) => {
    for (const text of ['garbage', '["NOTICE","hi"]', '{"EOSE":1}']) socket.send(text)
    socket.send(JSON.stringify(['EOSE', String(subscriptionId).slice(0, 64)]))
  })
  const url = `${server.url}/${'a'.repeat(64)}`
  const chain: TakerChain = { tipHeight: async () => 0, look: async () => undefined }
  const ran = (era: Era) => new Taker({ url, chain, era, eoseWaitMs: era === 'today' ? 500 : 30_000 }).run()
  const [today, b5fade03] = [await ran('today'), await ran('b5fade03')]
  assert.deepEqual([today.hasEose, today.passedOver], [false, 4])
  assert.deepEqual([b5fade03.hasEose, b5fade03.passedOver], [true, 3])
})

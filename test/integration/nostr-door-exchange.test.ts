/**
 * The Nostr door as today's makers and takers meet it, byte for byte: the maker reads one frame, the taker reads events,
 * EOSE with its own id, and what comes afterwards.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { isRightlySigned, signEvent } from '../sandbox/nostr/signed-event.ts'
import { announce, makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Taker } from '../sandbox/nostr/sim-taker.ts'
import { chainOf } from '../sandbox/nostr/taker-rules.ts'
import { OPCODE } from '../sandbox/nostr/wire.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { announcement, DoorVisitor, doorUrl, KIND, mineBonds } from '../support/nostr-door.ts'
import { onionHost } from '../support/onions.ts'

const NAMES = ['one', 'two', 'three']
let node: Regtest
let tracker: Tracker
let bonds: FundedBond[]
let url: string

before(async () => {
  node = await Regtest.start({ args: ['-txindex'] })
  bonds = await mineBonds(node, NAMES)
  tracker = await Tracker.start(node, { nostr: true })
  url = doorUrl(tracker)
  await tracker.caughtUp(node)
})

after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

const contents = () => bonds.map(({ txid }) => `${txid}:0`).sort()

test('a maker announces its bond and is content with the one frame it reads', async () => {
  const event = makerEvent(bonds[0]!.txid)
  const { isAccepted, attempts } = await announce(url, event)
  assert.ok(isAccepted)
  assert.deepEqual(
    attempts.map(({ saw }) => saw),
    [`["OK","${event.id}",true,""]`],
  )
  // The same event again, as when the answer was lost.
  assert.equal((await announce(url, event)).isAccepted, true)
})

test('a taker finds every maker, and the end of what is stored under its own id', async () => {
  const taker = await new Taker({ url, chain: chainOf(node), eoseWaitMs: 30_000 }).run()
  assert.deepEqual([...taker.found.values()].map(({ host }) => host).sort(), NAMES.map(onionHost).sort())
  assert.ok(taker.events.every(({ isEchoed, isLive, verdict }) => isEchoed && !isLive && verdict === 'accepted'))
  assert.equal(taker.passedOver, 0)
})

test('each event is of one key, newest first, lives a day, and is signed', async () => {
  using visitor = await DoorVisitor.open(url)
  const events = await visitor.ask('x', { kinds: [KIND] })
  assert.deepEqual(events.map(({ content }) => content).sort(), contents())
  assert.equal(new Set(events.map(({ pubkey }) => pubkey)).size, 1)
  for (const event of events) {
    assert.ok(isRightlySigned(event))
    const d = `fidelity:${event.content}`
    assert.deepEqual(event.tags, [
      ['d', d],
      ['expiration', String(event.created_at + 86_400)],
    ])
  }
  const order = events.map(({ created_at, id }) => [created_at, id] as const)
  assert.deepEqual(
    order,
    [...order].sort((a, b) => b[0] - a[0] || (a[1] < b[1] ? -1 : 1)),
  )
})

test('a subscription id comes back byte for byte, of 89 characters, of 256, and however it is written', async () => {
  const onion = `market-discovery-ws://${onionHost('relay').replace('.onion', '')}.onion:8000`
  assert.equal(onion.length, 89)
  const written = [
    JSON.stringify(onion),
    `"${'x'.repeat(256)}"`,
    '"\\u00e9\\n\\"\\\\/"',
    '"é漢 🜲"',
    '"\\ud800"',
    '"a\\/b"',
    '" ]}, "',
  ]
  using visitor = await DoorVisitor.open(url)
  for (const token of written) {
    visitor.socket.sendText(`["REQ",${token},{"kinds":[${KIND}],"limit":1}]`)
    const event = await visitor.text()
    assert.ok(event.startsWith(`["EVENT",${token},{"`), `${token}: ${event}`)
    assert.equal(await visitor.text(), `["EOSE",${token}]`)
    visitor.say('CLOSE', JSON.parse(token))
  }
})

test('nothing is said before a REQ but the OK, and EOSE comes though there is nothing', async () => {
  using visitor = await DoorVisitor.open(url)
  assert.ok(await visitor.isQuiet())
  const event = announcement(bonds[1]!.txid)
  assert.equal(await visitor.say('EVENT', event).text(), `["OK","${event.id}",true,""]`)
  assert.ok(await visitor.isQuiet())
  visitor.say('REQ', 'other kinds', { kinds: [1, 37_778] })
  assert.equal(await visitor.text(), '["EOSE","other kinds"]')
})

test('filters are honoured as NIP-01 has them', async () => {
  using visitor = await DoorVisitor.open(url)
  const ask = async (...filters: object[]) => {
    const events = await visitor.ask('f', ...filters)
    return events.map(({ content }) => content).sort()
  }
  const all = await visitor.ask('f', {})
  const [newest, middle, oldest] = all
  const d = `fidelity:${bonds[2]!.txid}:0`
  assert.deepEqual(await ask({}), contents())
  assert.deepEqual(await ask({ ids: [middle!.id] }), [middle!.content])
  assert.deepEqual(await ask({ authors: [newest!.pubkey] }), contents())
  assert.deepEqual(await ask({ authors: ['ab'.repeat(32)] }), [])
  assert.deepEqual(await ask({ '#d': [d, 'another'] }), [`${bonds[2]!.txid}:0`])
  assert.deepEqual(await ask({ '#e': ['x'] }), [], 'no event has such a tag')
  assert.deepEqual(await ask({ '#x': [] }), [])
  assert.deepEqual(await ask({ kinds: [KIND], search: 'anything', '#long': 5, more: null }), contents(), 'unknown keys')
  assert.deepEqual(await ask({ kinds: [] }), [])
  assert.deepEqual(await ask({ since: newest!.created_at + 1 }), [])
  assert.deepEqual(await ask({ since: oldest!.created_at }), contents())
  assert.deepEqual(await ask({ until: oldest!.created_at - 1 }), [])
  assert.deepEqual(await ask({ until: 0 }), [], 'a bound of 0 is one')
  assert.deepEqual(await ask({ limit: 0 }), [])
  assert.deepEqual(
    (await visitor.ask('f', { limit: 2 })).map(({ id }) => id),
    [newest!.id, middle!.id],
  )
  const two = await visitor.ask('f', { limit: 1 }, { ids: [oldest!.id] })
  assert.deepEqual(
    two.map(({ id }) => id),
    [newest!.id, oldest!.id],
    'either filter, each once',
  )
  assert.deepEqual(await ask({ ids: [newest!.id] }, { '#e': ['x'] }), [newest!.content])
})

test('a REQ that can’t be had is told why, and so is what is no message, once somebody has subscribed', async () => {
  using visitor = await DoorVisitor.open(url)
  const refused = async (token: string, ...filters: unknown[]) => {
    visitor.socket.sendText(`["REQ",${token},${filters.map((one) => JSON.stringify(one)).join()}]`)
    const [type, id, reason] = await visitor.message()
    assert.deepEqual([type, id], ['CLOSED', JSON.parse(token)])
    return reason as string
  }
  assert.match(await refused('""', {}), /^invalid: .*empty/)
  assert.match(await refused(`"${'x'.repeat(257)}"`, {}), /^invalid: .*256/)
  assert.match(await refused('"x"', { kinds: 5 }), /^invalid: filter 1: kinds: /)
  assert.match(await refused('"x"', {}, { '#d': 5 }), /^invalid: filter 2: #d: /)
  assert.match(await refused('"x"', { since: 'x' }), /^invalid: filter 1: since: /)
  assert.match(await refused('"x"', { ids: ['AB'.repeat(32)] }), /^invalid: .*lower-case hex/)
  assert.match(await refused('"x"', { limit: -1 }), /^invalid: filter 1: limit: /)
  assert.match(await refused('"x"', null), /^invalid: filter 1: /)
  assert.match(await refused('"x"', ...Array.from({ length: 11 }, () => ({}))), /^invalid: .*11 filters, 10 are/)
  assert.match(await refused('"x"', { kinds: Array.from({ length: 1_001 }, (_, i) => i) }), /^invalid: .*1000 values/)
  visitor.say('COUNT', 'c', {})
  assert.match(await visitor.text(), /^\["CLOSED","c","unsupported: /)
  for (const text of ['garbage', '{}', '[]', '[5]', '["AUTH",{}]', '["REQ"]', '["CLOSE",5]', '['.repeat(20_000)]) {
    visitor.socket.sendText(text)
    assert.match(await visitor.text(), /^\["NOTICE","invalid: [^"]{5,}"\]$/, text.slice(0, 20))
  }
  assert.equal((await visitor.ask('all', {})).length, 3, 'the connection goes on')
})

test('who has sent no REQ is told what was wrong when it sends one', async () => {
  using visitor = await DoorVisitor.open(url)
  visitor.socket.sendText('garbage')
  const event = announcement(bonds[0]!.txid)
  assert.match(await visitor.say('EVENT', event).text(), /^\["OK"/)
  assert.ok(await visitor.isQuiet())
  visitor.say('REQ', 'x', { kinds: [1] })
  assert.deepEqual(await visitor.message(), ['NOTICE', 'invalid: no JSON'])
  assert.deepEqual(await visitor.message(), ['EOSE', 'x'])
})

test('an EVENT that is wrong is refused by its id, with the reason', async () => {
  using visitor = await DoorVisitor.open(url)
  const { txid } = bonds[0]!
  const good = announcement(txid)
  const nowS = Math.floor(Date.now() / 1000)
  const withExpiration = (atS: number) => [
    ['d', `fidelity:${txid}:0`],
    ['expiration', String(atS)],
  ]
  const wrong: [unknown, RegExp][] = [
    [{ ...good, sig: '0'.repeat(128) }, /^invalid: the signature is wrong$/],
    [{ ...good, sig: announcement(bonds[1]!.txid).sig }, /^invalid: the signature is wrong$/],
    [{ ...good, id: 'ab'.repeat(32) }, /^invalid: the id is not that of the event$/],
    [{ ...good, content: `${bonds[1]!.txid}:0` }, /^invalid: the id is not that of the event$/],
    [announcement(txid, { kind: 1 }), /^invalid: kind 1: this relay knows 37780 alone$/],
    [announcement(txid, { kind: 37_778 }), /^invalid: kind 37778/],
    [announcement(txid, { created_at: nowS + 400 }), /^invalid: created in the future$/],
    [announcement(txid, { created_at: nowS - 86_500, tags: withExpiration(nowS + 60) }), /^invalid: older than a day$/],
    [announcement(txid, { tags: withExpiration(nowS - 5) }), /^invalid: expired$/],
    [announcement(txid, { tags: [['d', 'x']] }), /^invalid: no expiration$/],
    [announcement(txid, { content: `${txid}:1` }), /^invalid: names no bond/],
    [announcement(txid, { content: 'hello' }), /^invalid: names no bond/],
    [{ ...good, sig: 5 }, /^invalid: sig: /],
    [{ ...good, sig: `${good.sig}00` }, /^invalid: sig: 128 lower-case/],
    [{ ...good, sig: good.sig.toUpperCase() }, /^invalid: sig: /],
    [{ ...good, pubkey: 'ff'.repeat(32) }, /^invalid: the id/],
    [{ ...good, tags: [[5]] }, /^invalid: tags/],
    [{ ...good, kind: 1.5 }, /^invalid: kind: /],
    [signEvent({ ...good, tags: Array.from({ length: 33 }, () => ['t']) }), /^invalid: tags: /],
  ]
  for (const [event, reason] of wrong) {
    const [type, id, isAccepted, why] = await visitor.say('EVENT', event).message()
    assert.deepEqual([type, id, isAccepted], ['OK', (event as { id: string }).id, false])
    assert.match(why, reason)
  }
  const upper = { ...good, id: good.id.toUpperCase() }
  assert.deepEqual((await visitor.say('EVENT', upper).message()).slice(0, 3), ['OK', upper.id, false])
  for (const event of [null, 5, 'x', [], {}, { id: 5 }, { id: 'x'.repeat(300) }]) {
    const [type, id, isAccepted, why] = await visitor.say('EVENT', event).message()
    assert.deepEqual([type, id, isAccepted], ['OK', '', false])
    assert.match(why, /^invalid: /)
  }
  assert.equal(await visitor.say('EVENT', good).text(), `["OK","${good.id}",true,""]`, 'and then one that is right')
  assert.ok(await visitor.isQuiet(), 'nothing else was said')
})

test('what others bring is neither stored nor relayed', async () => {
  using subscribed = await DoorVisitor.open(url)
  await subscribed.ask('all', {})
  using maker = await DoorVisitor.open(url)
  const event = announcement(bonds[0]!.txid)
  assert.match(await maker.say('EVENT', event).text(), /true/)
  assert.ok(await subscribed.isQuiet())
  const events = await subscribed.ask('again', {})
  assert.ok(events.every(({ pubkey }) => pubkey !== event.pubkey))
  assert.deepEqual(await subscribed.ask('by id', { ids: [event.id] }), [])
})

test('a new bond is told to who is subscribed, under the id of each subscription that it matches', async () => {
  using visitor = await DoorVisitor.open(url)
  await visitor.ask('all', { kinds: [KIND] })
  await visitor.ask('new only', { limit: 0 })
  await visitor.ask('other', { kinds: [1] })
  await visitor.ask('replaced', {})
  await visitor.ask('replaced', { kinds: [2] })
  await visitor.ask('closed', {})
  visitor.say('CLOSE', 'closed').say('CLOSE', 'never was')
  const [bond] = await mineBonds(node, ['four'], 3)
  const told = [await visitor.message(), await visitor.message()]
  assert.deepEqual(told.map(([type, id, { content }]) => [type, id, content]).sort(), [
    ['EVENT', 'all', `${bond!.txid}:0`],
    ['EVENT', 'new only', `${bond!.txid}:0`],
  ])
  assert.ok(told.every(([, , event]) => isRightlySigned(event)))
  assert.ok(await visitor.isQuiet())
  // Its lock is over: it is simply not there any more.
  await node.mine(3)
  await tracker.caughtUp(node)
  assert.deepEqual((await visitor.ask('after', {})).map(({ content }) => content).sort(), contents())
})

test('a connection has 20 subscriptions, and 64 kB of filters', async () => {
  using visitor = await DoorVisitor.open(url)
  for (let i = 0; i < 20; i++) await visitor.ask(`s${i}`, { limit: 0 })
  assert.match(await visitor.say('REQ', 'one more', {}).text(), /^\["CLOSED","one more","rate-limited: .*20 sub/)
  await visitor.ask('s3', { limit: 1 })
  visitor.say('CLOSE', 's3')
  await visitor.ask('one more', { limit: 0 })
  using large = await DoorVisitor.open(url)
  const ids = Array.from({ length: 600 }, (_, i) => i.toString(16).padStart(64, '0'))
  await large.ask('large', { ids })
  assert.match(await large.say('REQ', 'too much', { ids }).text(), /^\["CLOSED","too much","rate-limited: .*65536/)
  await large.ask('large', { ids })
})

test('subscribers are pinged, others never', { timeout: 120_000 }, async () => {
  using subscribed = await DoorVisitor.open(url)
  using other = await DoorVisitor.open(url)
  const event = announcement(bonds[0]!.txid)
  await other.say('EVENT', event).text()
  await subscribed.ask('x', { limit: 0 })
  assert.equal((await subscribed.socket.read(60_000)).op, OPCODE.ping)
  assert.ok(await other.isQuiet())
})

test('a restart keeps the key', async () => {
  using visitor = await DoorVisitor.open(url)
  const [before] = await visitor.ask('x', { limit: 1 })
  visitor.say('REQ', 'held', { limit: 0 })
  await visitor.message()
  assert.equal(await tracker.stop(), 0)
  assert.deepEqual(await visitor.goodbye(), { code: 1001, reason: 'the tracker is being stopped' })
  tracker.launch()
  await tracker.caughtUp(node)
  using again = await waitUntil('the door is open', () => DoorVisitor.open(url).catch(() => undefined))
  const events = await again.ask('x', {})
  assert.deepEqual(events.map(({ content }) => content).sort(), contents())
  assert.ok(events.every(({ pubkey }) => pubkey === before!.pubkey))
})

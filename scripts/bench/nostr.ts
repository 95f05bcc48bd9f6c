/**
 * nostr [--tor]: the Nostr door with 1,000 bonds and 1,000 idle subscribers, from the real daemon on a database made for
 * it: how soon a list is told, how many lists and EVENTs a second, what a subscriber and a reader that never reads cost.
 * With --tor over a private Tor network, as a ratio to the same bonds by `Bonds`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { bondEventDraft } from '../../src/nostr/event.ts'
import { eventSigner } from '../../src/nostr/signatures.ts'
import { Secret } from '../../src/secret.ts'
import { formatHostPort, parseHostPort } from '../../src/tor/address.ts'
import { dial, freshIsolation } from '../../src/tor/socks.ts'
import { ask } from '../../src/wire/client.ts'
import { makerEvent } from '../../test/sandbox/nostr/sim-maker.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { TorNetwork } from '../../test/sandbox/tor-network.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { txidOf } from '../../test/support/bonds.ts'
import { DoorLoad, maskedText } from '../../test/support/door-load.ts'
import { mineBonds } from '../../test/support/nostr-door.ts'
import { fill, unreachable } from './get.ts'
import { cpuS, rssMb } from './process.ts'
import { quantile, report } from './report.ts'

const BONDS = 1_000
const SUBSCRIBERS = 1_000
const SECONDS = 5
const REQ = maskedText('["REQ","market-discovery-ws://127.0.0.1:8082",{"kinds":[37780]}]')
/** What comes, without what is there. */
const NEWS = maskedText('["REQ","news",{"kinds":[37780],"limit":0}]')
const EOSE = '["EOSE"'
const NEVER_READING = 300
/** What each of them asks for: far more than the kernel takes for it. */
const REQS_UNREAD = 40
const ROUNDS = 20

export async function benchNostr(args: readonly string[]): Promise<void> {
  await using node = await Regtest.start({ blocks: 120 })
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-bench-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  await fill(node, dataDir, unreachable(BONDS))
  if (args.includes('--tor')) return await benchOverTor(node, dataDir)
  await using tracker = await startDoor(node, dataDir, ['--no-tor', '--connections-max', '5000'])
  const port = tracker.nostrPort!

  const one = await DoorLoad.open(port)
  await one.ask(REQ, EOSE)
  const alone = await inTurn(one, 300)
  // What the heap grows to by much work is no subscriber's.
  await throughput(tracker, await open(port, 50), () => REQ, EOSE)
  const rssBefore = rssMb(tracker.pid)
  const subscribers = await subscribe(port)
  await pause(2_000)
  const perSubscriberKb = ((rssMb(tracker.pid) - rssBefore) * 1024) / SUBSCRIBERS
  const beside = await inTurn(one, 300)
  const row = (name: string, ms: readonly number[]) => [name, quantile(ms, 0.5), quantile(ms, 0.99)]
  report(`nostr: ${BONDS} bonds, REQ to EOSE, one at a time`, [
    ['', 'p50 ms', 'p99 ms'],
    row('alone', alone),
    row(`beside ${SUBSCRIBERS} subscribers`, beside),
  ])
  report('nostr: an idle subscriber', [['RSS, kB', perSubscriberKb]])

  const reqs = await throughput(tracker, subscribers.slice(0, 50), () => REQ, EOSE)
  const events = Array.from({ length: 500 }, (_, i) => maskedText(JSON.stringify(['EVENT', makerEvent(txidOf(i))])))
  let n = 0
  const makers = await open(port, 16)
  const brought = await throughput(tracker, makers, () => events[n++ % events.length]!, '["OK"')
  report(`nostr: as many as it answers, ${SECONDS} s each`, [
    ['', 'a second', 'CPU ms each'],
    ['REQ, 50 connections', reqs.perSecond, reqs.cpuMs],
    ['EVENT, 16 connections', brought.perSecond, brought.cpuMs],
  ])

  await benchLive(node, subscribers)
  await benchNeverReading(tracker)
  benchSigning()
  report('nostr: the longest piece of work in all of this', [['ms', await longestPieceMs(tracker)]])
  for (const { socket } of [one, ...subscribers, ...makers]) socket.destroy()
}

async function longestPieceMs({ httpPort }: Tracker): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()
  return 1_000 * Number(/^fidelity_tracker_work_piece_seconds_max (\S+)/m.exec(metrics)![1])
}

/** The allowances are lifted: what is measured is the door. */
async function startDoor(node: Regtest, dataDir: string, args: readonly string[]): Promise<Tracker> {
  const limits = ['--units-per-second', '1000000', '--units-burst', '10000000']
  const tracker = await Tracker.start(node, { dataDir, nostr: true, http: true, args: [...args, ...limits] })
  await tracker.caughtUp(node)
  return tracker
}

async function inTurn(client: DoorLoad, times: number): Promise<number[]> {
  const ms: number[] = []
  for (let i = 0; i < times; i++) ms.push(await client.ask(REQ, EOSE))
  return ms
}

function open(port: number, count: number): Promise<DoorLoad[]> {
  return Promise.all(Array.from({ length: count }, () => DoorLoad.open(port)))
}

async function subscribe(port: number): Promise<DoorLoad[]> {
  const subscribers: DoorLoad[] = []
  while (subscribers.length < SUBSCRIBERS) {
    const some = await open(port, 20)
    await Promise.all(some.map((subscriber) => subscriber.ask(NEWS, EOSE)))
    subscribers.push(...some)
  }
  return subscribers
}

/** Each asks again whenever it is answered. */
async function throughput(
  { pid }: Tracker,
  clients: readonly DoorLoad[],
  next: () => Buffer,
  end: string,
): Promise<{ perSecond: number; cpuMs: number }> {
  const startMs = performance.now()
  const startCpuS = cpuS(pid)
  let answered = 0
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() - startMs < 1_000 * SECONDS) {
        await client.ask(next(), end)
        answered++
      }
    }),
  )
  const perSecond = (1_000 * answered) / (performance.now() - startMs)
  return { perSecond, cpuMs: (1_000 * (cpuS(pid) - startCpuS)) / answered }
}

/** A new bond is told to all of them: from the first that hears of it to each. */
async function benchLive(node: Regtest, subscribers: readonly DoorLoad[]): Promise<void> {
  const heardMs: number[] = []
  const all = subscribers.map(async (subscriber) => {
    await subscriber.ask(Buffer.alloc(0), '["EVENT"')
    heardMs.push(performance.now())
  })
  await mineBonds(node, ['live'])
  await Promise.all(all)
  const after = heardMs.map((ms) => ms - heardMs[0]!)
  report(`nostr: a new bond, told to ${subscribers.length} subscribers, after the first has it`, [
    ['', 'p50 ms', 'last ms'],
    ['', quantile(after, 0.5), after.at(-1)!],
  ])
}

async function benchNeverReading({ pid, nostrPort }: Tracker): Promise<void> {
  const before = rssMb(pid)
  const clients = await open(nostrPort!, NEVER_READING)
  for (const { socket } of clients) {
    socket.pause()
    for (let i = 0; i < REQS_UNREAD; i++) socket.write(maskedText(`["REQ","s${i % 20}",{}]`))
  }
  await pause(10_000)
  const after10 = rssMb(pid)
  await pause(20_000)
  const after30 = rssMb(pid)
  for (const { socket } of clients) socket.destroy()
  report(`nostr: RSS, MB, with ${NEVER_READING} readers that never read ${REQS_UNREAD} lists each`, [
    ['before', 'after 10 s', 'after 30 s'],
    [before.toFixed(0), after10, after30],
  ])
}

/** Every bond is signed anew after 15 to 30 minutes. */
function benchSigning(): void {
  const signer = eventSigner(new Secret('07'.repeat(32)))
  const sign = (i: number) => JSON.stringify(signer.sign(bondEventDraft({ txid: txidOf(i), vout: 0 }, 'regtest', i)))
  for (let i = 0; i < 200; i++) sign(i)
  const start = process.cpuUsage()
  for (let i = 0; i < 2_000; i++) sign(i)
  const { user, system } = process.cpuUsage(start)
  const msEach = (user + system) / 1_000 / 2_000
  report('nostr: signing anew', [
    ['ms each', msEach],
    [`CPU s an hour, ${BONDS} bonds`, (msEach / 1_000) * BONDS * (60 / 22.5)],
  ])
}

async function benchOverTor(node: Regtest, dataDir: string): Promise<void> {
  await using tor = await TorNetwork.start({ clients: 2 })
  const { control, socks } = tor.clients[0]!
  const at = ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)]
  await using tracker = await startDoor(node, dataDir, at)
  const onion = parseHostPort(String((await tracker.said('onion service published')).onionAddress))!
  const options = { socks: tor.clients[1]!.socks, timeoutMs: 60_000, signal: new AbortController().signal }
  const isolation = freshIsolation()
  const door = await waitUntil('the door is reached', async () => {
    const socket = await dial({ host: onion.host, port: 80 }, { ...options, isolation }).catch(() => undefined)
    return socket && DoorLoad.over(socket)
  })
  const wire = await dial(onion, { ...options, isolation })
  const [events, pages]: [number[], number[]] = [[], []]
  for (let i = 0; i < ROUNDS; i++) {
    events.push(await door.ask(REQ, EOSE))
    const startMs = performance.now()
    const reply = await ask(wire, { type: 'Bonds', limit: BONDS }, { timeoutMs: 60_000 })
    if (reply.type !== 'Bonds' || reply.bonds.length !== BONDS) throw new Error(`no page: ${reply.type}`)
    pages.push(performance.now() - startMs)
  }
  const [event, page] = [quantile(events, 0.5), quantile(pages, 0.5)]
  report(`nostr: ${BONDS} bonds over a private Tor network, one circuit, ${ROUNDS} rounds in turn`, [
    ['', 'p50 ms', 'p99 ms'],
    ['REQ to EOSE', event, quantile(events, 0.99)],
    ['Bonds, one page', page, quantile(pages, 0.99)],
    ['ratio', event / page],
  ])
  wire.destroy()
  door.socket.destroy()
}

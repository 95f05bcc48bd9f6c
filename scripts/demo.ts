/**
 * The whole market in a sandbox, and a taker's questions answered through Tor. Run by scripts/demo.sh.
 * `--once`: ends after the answers, with exit code 0 only when everything was as it should be.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { formatOutpoint } from '../src/chain/types.ts'
import { formatHostPort, parseHostPort } from '../src/tor/address.ts'
import { decode, encode } from '../src/wire/cbor.ts'
import { exchange } from '../src/wire/client.ts'
import type { Request } from '../src/wire/messages.ts'
import { bondKey } from '../test/sandbox/bond-key.ts'
import type { MakerSettings } from '../test/sandbox/maker.ts'
import { Relay } from '../test/sandbox/nostr/relay.ts'
import { chainOf } from '../test/sandbox/nostr/taker-rules.ts'
import { publishOnion } from '../test/sandbox/onion-service.ts'
import { freePorts } from '../test/sandbox/ports.ts'
import { type BondPlan, type FundedBond, Regtest } from '../test/sandbox/regtest.ts'
import { TorNetwork } from '../test/sandbox/tor-network.ts'
import { runVerb, Tracker } from '../test/sandbox/tracker.ts'
import { waitUntil } from '../test/sandbox/wait.ts'
import { announceAt, relayRow, takerAt } from './demo-nostr.ts'
import {
  askThroughTor,
  dialTor,
  expect,
  isOnceIn,
  onionHost,
  orStop,
  play,
  say,
  sayVerdict,
  step,
  stop,
  stopped,
} from './demo-stage.ts'

const isOnce = isOnceIn(process.argv.slice(2))

interface Announced {
  name: string
  about: string
  /** The state `bonds --all` must show; undefined: it must not be known at all. */
  expected: string | undefined
  bond: FundedBond
}

await play(run)

async function run(): Promise<void> {
  step('A regtest chain (real bitcoind) and a private Tor network (real Tor), both on loopback only')
  const startMs = performance.now()
  const [nodeStart, torStart] = await Promise.allSettled([
    Regtest.start({ args: ['-txindex=1'] }), // which the tracker doesn't need, and takers of today do
    TorNetwork.start({ clients: 2 }),
  ])
  if (nodeStart.status === 'rejected') throw nodeStart.reason
  await using node = nodeStart.value
  if (torStart.status === 'rejected') throw torStart.reason
  await using tor = torStart.value
  const [trackerTor, takerTor] = [tor.clients[0]!, tor.clients[1]!]
  say(`block ${await node.height()}, Tor answers; ${Math.round((performance.now() - startMs) / 1000)} s`)

  step('Bonds, made by real transactions')
  const market: Announced[] = []
  const announce = async (name: string, about: string, expected: string | undefined, plan: Partial<BondPlan>) => {
    const format = plan.format ?? 'D'
    const port = format === 'A' || format === 'B' ? 6102 : 21
    const bond = await node.fundBond({ key: bondKey(name), format, address: `${onionHost(name)}:${port}`, ...plan })
    market.push({ name, about, expected, bond })
    say(`${name.padEnd(11)} ${about}`)
  }
  await announce('maker-a', 'format A, host:port', 'live', { format: 'A', amountSats: 50_000 })
  await announce('maker-b', 'format B, host:port#height', 'live', { format: 'B', amountSats: 2_000_000 })
  await announce('maker-c', 'format C, host.onion#height', 'live', { format: 'C', amountSats: 500_000 })
  await announce('maker-d', 'format D, host#height, as makers write it today', 'live', {
    format: 'D',
    amountSats: 5_000_000,
  })
  await announce('maker-e', 'format D, too', 'live', { format: 'D', amountSats: 1_000_000 })
  say('-- and what must not be listed:')
  const good = onionHost('bad-onion')
  const flipped = `${good[0] === 'a' ? 'b' : 'a'}${good.slice(1)}`
  await announce('bad-onion', 'one letter of the onion name is wrong', undefined, { address: `${flipped}:21` })
  await announce('not-p2wsh', 'the coins lie in an ordinary output', 'refused (not-p2wsh)', { isPlain: true })
  await announce('too-small', '9,999 sats', 'refused (too-small)', { amountSats: 9_999 })
  await announce('too-long', 'locked for more than 25,920 blocks', 'refused (lock-too-long)', { lockBlocks: 26_000 })
  await announce('six-outputs', 'more than five outputs', undefined, { extraOutputs: 4 })
  await announce('expired', 'its lock has passed', 'expired', { lockBlocks: 2 })
  await announce('spent', 'its lock has passed, and its coins have moved', 'spent', { lockBlocks: 1 })
  await node.mine(1)
  const confHeight = await node.height()
  await node.mine(2)
  await node.spendBond(market.find(({ name }) => name === 'spent')!.bond)
  await node.mine(1)
  say(`all confirmed in block ${confHeight}, the chain is at ${await node.height()}`)

  step('Five makers, each a process behind its own onion service')
  const makers: ChildProcess[] = []
  using _makers = {
    [Symbol.dispose]() {
      for (const maker of makers) maker.kill('SIGTERM')
    },
  }
  const live = market.filter(({ expected }) => expected === 'live')
  await orStop(
    Promise.all(
      live.map(async ({ name, bond }) => {
        const { host, port } = parseHostPort(bond.address)!
        const settings: MakerSettings = {
          name,
          reach: { control: takerTor.control, virtualPort: port },
          bond: {
            outpoint: formatOutpoint(bond.outpoint),
            amountSats: bond.amountSats,
            lockHeight: bond.lockHeight,
            confHeight,
            certAddress: host,
          },
        }
        const script = new URL('../test/sandbox/maker.ts', import.meta.url).pathname
        const maker = spawn(process.execPath, [script, JSON.stringify(settings)], {
          stdio: ['pipe', 'pipe', 'inherit'],
        })
        makers.push(maker)
        const [line] = await Promise.race([once(maker.stdout, 'data'), once(maker, 'exit').then(() => [undefined])])
        if (line === undefined) throw new Error(`${name} did not start`)
        say(`${name.padEnd(11)} ${JSON.parse(String(line)).reachable}`)
      }),
    ),
  )

  step('A public Nostr relay, written by others: today’s makers announce there, and one event gets lost')
  await using publicRelay = await Relay.start()
  const publicPlan = { name: 'public relay', virtualPort: 80, port: publicRelay.port }
  using publicOnion = await orStop(publishOnion(takerTor.control, publicPlan))
  const publicUrl = `ws://${publicOnion.onionHost}`
  const ofToday = ['maker-d', 'maker-e'].map((name) => live.find((m) => m.name === name)!)
  const events = await orStop(Promise.all(ofToday.map(({ bond }) => announceAt(publicUrl, bond.txid, takerTor.socks))))
  await publicRelay.lose(events[1]!)
  say(`${publicUrl} has the event of maker-d, and no more that of maker-e`)

  step('The tracker: fidelity-tracker start')
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-demo-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  const port = (await freePorts(1))[0]!
  await using tracker = await Tracker.start(node, {
    dataDir,
    port,
    http: true,
    nostr: true,
    args: [
      ...['--control-port', formatHostPort(trackerTor.control), '--socks-port', formatHostPort(trackerTor.socks)],
      ...['--nostr-relays', publicUrl, '--nostr-publish'],
    ],
  })
  await orStop(
    waitUntil(
      'the tracker is ready',
      () => {
        if (!tracker.isRunning) throw new Error(`the tracker has ended: ${tracker.stderr}`)
        return tracker.logged('ready') !== undefined
      },
      { timeoutMs: 120_000 },
    ),
  )
  const onionAddress = String(tracker.logged('ready')!.address)
  say(`ready at ${onionAddress}`)

  step('A taker asks it through Tor (another Tor client, a circuit of its own)')
  const askTor = (request: Request) => askThroughTor(onionAddress, takerTor.socks, 'taker', request)
  const status = await orStop(askTor({ type: 'Status' }))
  const list = await orStop(askTor({ type: 'Get' }))
  if (status.type !== 'Status' || list.type !== 'Address')
    throw new Error(`unexpected replies: ${status.type}, ${list.type}`)
  say(
    `Status: block ${status.height}, synced ${status.synced}, ${status.bonds} live bonds, digest ${Buffer.from(status.digest).toString('hex').slice(0, 16)}…`,
  )
  say(`Get:    ${list.addresses.length} makers\n`)

  const verb = await runVerb(['bonds', '--all', '--json', '--network', 'regtest', '--datadir', dataDir])
  const rows = new Map<string, BondRow>((JSON.parse(verb.stdout) as BondRow[]).map((row) => [row.outpoint, row]))
  const table = [['LISTED', 'MAKER', 'FORMAT', 'SATS', 'VALUE', 'LOCK', 'LEFT', 'ADDRESS']]
  for (const address of list.addresses) {
    const announced = market.find(({ bond }) => bond.address === address)
    const row = announced && rows.get(formatOutpoint(announced.bond.outpoint))
    table.push([
      'yes',
      announced?.name ?? '?',
      row?.format ?? '?',
      String(row?.amount),
      String(row?.value),
      String(row?.lock_height ?? '-'),
      String(row?.blocks_left),
      address,
    ])
  }
  for (const { name, about, bond } of market) {
    if (list.addresses.includes(bond.address)) continue
    const row = rows.get(formatOutpoint(bond.outpoint))
    const why = row ? describeState(row) : 'no valid announcement'
    table.push(['no', name, row?.format ?? '-', String(bond.amountSats), '-', '-', '-', `${why}: ${about}`])
  }
  const widths = table[0]!.map((_, i) => Math.max(...table.map((cells) => cells[i]!.length)))
  for (const cells of table)
    say(
      cells
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )

  const expectedOrder = ['maker-d', 'maker-b', 'maker-e', 'maker-c', 'maker-a'].map(
    (name) => market.find((m) => m.name === name)!.bond.address,
  )
  expect(
    JSON.stringify(list.addresses) === JSON.stringify(expectedOrder),
    'the list is not the five makers, best first',
  )
  expect(status.synced, 'the tracker does not say that it is synced')
  expect(status.height === (await node.height()), 'the tracker is not at the tip')
  expect(status.bonds === 5, `Status counts ${status.bonds} live bonds instead of 5`)
  for (const { name, expected, bond } of market) {
    const row = rows.get(formatOutpoint(bond.outpoint))
    const state = row && describeState(row)
    expect(state === expected, `${name} is ${state ?? 'unknown'} instead of ${expected ?? 'unknown'}`)
  }

  step('The taker calls the first maker of the list')
  const maker = await orStop(dialTor(parseHostPort(list.addresses[0]!)!, takerTor.socks, 'maker'))
  const hello = decode(await exchange(maker, encode({ TakerHello: null }), { timeoutMs: 60_000 }))
  const offer = await exchange(maker, encode({ GetOffer: null }), { timeoutMs: 60_000 })
  maker.destroy()
  expect(hello !== undefined && offer.length > 400, 'the maker did not answer')
  say(`it says hello and offers (${offer.length} bytes, with its fidelity proof)`)

  step('A taker of today knows no trackers, but Nostr relays; it is given this one, and judges by its own bitcoind')
  const findsAll = async (relayUrl: string) => {
    const taker = await orStop(takerAt(relayUrl, chainOf(node), takerTor.socks, stop))
    say(`${relayUrl}: ${taker.events.length} events, then EOSE after ${Math.round(taker.eoseMs ?? 0)} ms`)
    for (const { txid, verdict, why } of taker.events) {
      const name = live.find(({ bond }) => bond.txid === txid)?.name ?? '?'
      const found = taker.found.get(txid ?? '')
      say(`${name.padEnd(11)} ${found ? `found at ${found.host}` : `${verdict}: ${why}`}`)
    }
    expect(taker.hasEose, `${relayUrl} did not come to an end`)
    expect(
      taker.found.size === ofToday.length && ofToday.every(({ bond }) => taker.found.has(bond.txid)),
      `a taker at ${relayUrl} does not find exactly the two makers of today`,
    )
    return taker
  }
  const { events: served } = await findsAll(`ws://${parseHostPort(onionAddress)!.host}`)
  // Of older formats takers of today know nothing: the tracker doesn't bother them with these.
  expect(served.length === ofToday.length, `the tracker serves ${served.length} events instead of ${ofToday.length}`)

  step('The public relay, compared with the chain, and mended once maker-e has answered and proven its bond')
  const mended = await orStop(relayRow(dataDir, 'the public relay is mended', ({ missing }) => missing === 0))
  const { announced, missing, dead, invalid, publishing } = mended
  say(
    `announced ${announced}, missing ${missing}, dead ${dead}, invalid ${invalid}; sent there: ${publishing?.accepted}`,
  )
  expect(announced === 2 && publishing?.accepted === 1, 'the tracker did not send exactly the event that was lost')
  await findsAll(publicUrl)

  sayVerdict()
  if (isOnce) return
  step('All of it keeps running: try it by hand, Ctrl-C ends it')
  const program = `${relative(process.cwd(), process.execPath).replace(/^\.\.\/.*/, process.execPath)} dist/main.js`
  const common = `--network regtest --datadir ${dataDir}`
  say(`in a browser: http://127.0.0.1:${tracker.httpPort}/`)
  say(`${program} status ${common}`)
  say(`${program} bonds --all ${common}`)
  say(`${program} query ${onionAddress} get --socks-port ${takerTor.socks.port}`)
  say(`a Nostr relay, for whatever speaks NIP-01: ws://127.0.0.1:${tracker.nostrPort}`)
  await stopped
  say('\nstopping')
}

interface BondRow {
  outpoint: string
  format: string
  state: string
  refusal: string | null
  amount: number
  value: number
  lock_height: number | null
  blocks_left: number | null
}

function describeState(row: BondRow): string {
  return row.refusal ? `${row.state} (${row.refusal})` : row.state
}

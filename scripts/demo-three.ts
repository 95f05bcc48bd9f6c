/**
 * Three trackers as one: each with its own Tor, one PostgreSQL, one onion address that one of them holds at a time. The one
 * that has taken a registration is killed, and the next one tells of the spend. Run by scripts/demo.sh --three.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { formatOutpoint } from '../src/chain/types.ts'
import { formatHostPort } from '../src/tor/address.ts'
import { ONION_KEY_FILE, openOnionKey } from '../src/tor/key.ts'
import type { Request } from '../src/wire/messages.ts'
import { bondKey } from '../test/sandbox/bond-key.ts'
import { freePorts } from '../test/sandbox/ports.ts'
import { PostgresServer } from '../test/sandbox/postgres.ts'
import { Regtest } from '../test/sandbox/regtest.ts'
import { TorNetwork } from '../test/sandbox/tor-network.ts'
import { Tracker } from '../test/sandbox/tracker.ts'
import { waitUntil } from '../test/sandbox/wait.ts'
import { makeCoins, spend } from '../test/support/coins.ts'
import {
  askThroughTor,
  expect,
  isOnceIn,
  onionHost,
  orStop,
  play,
  say,
  sayVerdict,
  step,
  stopped,
} from './demo-stage.ts'

const isOnce = isOnceIn(process.argv.slice(2))
const NAMES = ['one', 'two', 'three'] as const

interface Named {
  name: string
  tracker: Tracker
}

await play(run)

async function run(): Promise<void> {
  step('A regtest chain (real bitcoind), a private Tor network (real Tor) and a PostgreSQL, all on loopback only')
  await using things = new AsyncDisposableStack()
  const started = await Promise.allSettled([
    Regtest.start().then((node) => things.use(node)),
    TorNetwork.start({ clients: NAMES.length + 1 }).then((tor) => things.use(tor)),
    PostgresServer.start({ after: (end) => things.defer(end) }),
  ])
  const failed = started.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined
  if (failed) throw failed.reason
  const [node, tor, postgres] = started.map((one) => (one as PromiseFulfilledResult<unknown>).value) as [
    Regtest,
    TorNetwork,
    PostgresServer,
  ]
  const takerTor = tor.clients[NAMES.length]!
  for (const name of ['maker-a', 'maker-b']) {
    await node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21`, amountSats: 1_000_000 })
  }
  const [coin] = await makeCoins(node, 1)
  say(
    `block ${await node.height()}, with the bonds of two makers, and a coin of somebody who will want to know of its spend`,
  )

  step('Three trackers: fidelity-tracker start --onion-lease, one onion.key, a Tor each')
  const home = mkdtempSync(join(tmpdir(), 'ft-demo-'))
  things.defer(() => rmSync(home, { recursive: true, force: true }))
  const trackers: Named[] = []
  const [port] = await freePorts(1)
  for (const [i, name] of NAMES.entries()) {
    const dataDir = join(home, name)
    openOnionKeyAt(dataDir, trackers[0]?.tracker.dataDir)
    const { control, socks } = tor.clients[i]!
    const tracker = await Tracker.start(node, {
      dataDir,
      // The port is a part of the onion address: the same at each, as on machines of their own.
      host: `127.0.0.${i + 1}`,
      port: port!,
      env: { FIDELITY_TRACKER_SHARED_STORE: postgres.url() },
      args: [...['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)], '--onion-lease'],
    })
    trackers.push({ name, tracker: things.use(tracker) })
  }
  await orStop(Promise.all(trackers.map(({ tracker }) => tracker.caughtUp(node))))
  const holder = await orStop(publishedBy(trackers, () => 0))
  const { address } = await orStop(waitUntil('it tells its address', () => isPublished(holder) && onionOf(holder)))
  const others = trackers.filter((one) => one !== holder)
  await orStop(waitUntil('the others stand by', () => others.every(standsBy), { timeoutMs: 60_000 }))
  for (const one of trackers) say(`${one.name.padEnd(7)}${told(one)}`)

  step('A client registers the coin at that address')
  const ask = (request: Request) => orStop(askThroughTor(address!, takerTor.socks, 'client', request))
  const list = await ask({ type: 'Get' })
  say(`Get:       ${list.type === 'Address' ? list.addresses.length : 'no'} makers`)
  expect(list.type === 'Address' && list.addresses.length === 2, 'the list is not the two makers')
  const { txid, vout } = coin!
  const registered = await ask({ type: 'Register', outpoints: [{ txid, vout }], ttlBlocks: 144 })
  say(`Register:  ${registered.type}, by ${holder.name}, for 144 blocks: it is committed in PostgreSQL`)
  expect(registered.type === 'Registered', `Register is answered ${JSON.stringify(registered)}`)

  step(`${holder.name} is killed (kill -9), and then the coin is spent`)
  const startMs = performance.now()
  const next = publishedBy(others, ({ tracker }) => tracker.log.length)
  await holder.tracker.stop('SIGKILL')
  const { txid: spending } = await spend(node, [coin!])
  await node.mine(1)
  const successor = await orStop(next)
  say(`after ${((performance.now() - startMs) / 1_000).toFixed(1)} s ${successor.name} has published the same address`)

  step('The client comes back to the address')
  await orStop(successor.tracker.caughtUp(node))
  const seen = await ask({ type: 'WatchMany', outpoints: [{ txid, vout }] })
  const spent = seen.type === 'Spends' ? seen.spends[0] : undefined
  say(`WatchMany: ${formatOutpoint({ txid, vout })}`)
  say(`           ${spent?.state} by ${spent?.txid}, says ${successor.name}, which was not asked before`)
  expect(spent?.txid === spending, 'the client is not told of the spend')

  step(`${holder.name} is started again`)
  holder.tracker.launch()
  await orStop(holder.tracker.caughtUp(node))
  await orStop(waitUntil('it stands by', () => standsBy(holder)))
  for (const one of trackers) say(`${one.name.padEnd(7)}${told(one)}`)
  const digests = new Set<string>()
  for (const { tracker } of trackers) {
    const { digest } = await tracker.ask({ type: 'Status' }, 'Status')
    digests.add(Buffer.from(digest).toString('hex'))
  }
  expect(digests.size === 1, `the trackers have ${digests.size} digests`)
  say(`all at block ${await node.height()}, with the digest ${[...digests].map((digest) => `${digest.slice(0, 16)}…`)}`)

  sayVerdict()
  if (isOnce) return
  step('All of it keeps running: try it by hand, Ctrl-C ends it')
  const program = `${relative(process.cwd(), process.execPath).replace(/^\.\.\/.*/, process.execPath)} dist/main.js`
  say(`${program} query ${address} status --socks-port ${takerTor.socks.port}`)
  say(`kill -9 ${successor.tracker.pid}   # the one that holds the address now`)
  for (const { name, tracker } of trackers) {
    say(`${program} status --network regtest --datadir ${tracker.dataDir}   # ${name}`)
  }
  await stopped
  say('\nstopping')
}

/** The first one makes it, the others have a copy. */
function openOnionKeyAt(dataDir: string, first: string | undefined): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const keyFile = join(dataDir, ONION_KEY_FILE)
  if (first === undefined) openOnionKey(keyFile)
  else copyFileSync(join(first, ONION_KEY_FILE), keyFile)
}

function onionOf({ tracker }: Named) {
  return tracker.status()?.onion
}

function isPublished(one: Named): boolean {
  return onionOf(one)?.state === 'published'
}

function standsBy(one: Named): boolean {
  return onionOf(one)?.state === 'standby'
}

/** Waits until one of them says that it has published the address, after the first `linesOf` lines of its log. */
async function publishedBy(trackers: readonly Named[], linesOf: (one: Named) => number): Promise<Named> {
  const from = trackers.map(linesOf)
  const hasSaid = ({ tracker }: Named, i: number) => {
    if (!tracker.isRunning) throw new Error(`a tracker has ended: ${tracker.stderr}`)
    return tracker.log.slice(from[i]).some(({ msg }) => msg === 'onion service published')
  }
  return await waitUntil('the address is published', () => trackers.find(hasSaid), { timeoutMs: 120_000 })
}

function told(one: Named): string {
  const { state, detail, address } = onionOf(one)!
  return `${state === 'published' ? `published ${address}` : detail} (process ${one.tracker.pid})`
}

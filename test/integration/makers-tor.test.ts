/**
 * Makers behind onion services of their own, in processes of their own, on a private Tor network: every dialect, bad
 * manners, every lie, death and return; and what must not be held against them: our own Tor killed, our own onion service
 * broken. One network and one chain for the whole file. Intervals are short; on regtest what makes a maker down shrinks
 * with them.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { AnnouncementFormat } from '../../src/bonds/types.ts'
import { formatOutpoint } from '../../src/chain/types.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { type ProbeRow, readProbes } from '../../src/store/shared/probes.ts'
import { formatHostPort } from '../../src/tor/address.ts'
import type { MakerRow } from '../../src/views/schemas/makers.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { LIES, type LieName } from '../sandbox/lies.ts'
import type { MakerSettings } from '../sandbox/maker.ts'
import { type MakerProcess, startMakers } from '../sandbox/maker-process.ts'
import type { MakerPlan } from '../sandbox/maker-server.ts'
import type { Release } from '../sandbox/offer.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'

const FORMAT: Record<Release, AnnouncementFormat> = {
  '0.1.2': 'A',
  '0.1.3': 'A',
  '0.1.3-taproot': 'A',
  '0.2.0': 'B',
  '0.2.0-taproot': 'B',
  '0.2.1': 'B',
  '0.2.2': 'C',
  today: 'D',
}

interface Announced {
  name: string
  plan: MakerPlan
  address: string
  bond: FundedBond
  confHeight: number
}

const PLANS: Record<string, MakerPlan> = {
  ...Object.fromEntries((Object.keys(FORMAT) as Release[]).map((release) => [release, { release }])),
  ...Object.fromEntries(
    (['silent', 'slow', 'closes', 'rubbish', 'huge'] as const).map((manners) => [manners, { manners, delayMs: 500 }]),
  ),
  ...Object.fromEntries((Object.keys(LIES) as LieName[]).map((lie) => [`lie ${lie}`, { lie }])),
  mortal: {},
}

let tor: TorNetwork
let node: Regtest
const makers = new Map<string, Announced>()
const processes: MakerProcess[] = []
/** Its onion service does not exist: its canary is never green. Through the other Tor, which lives as long as the file. */
let broken: Tracker
const brokenDir = mkdtempSync(join(tmpdir(), 'ft-hostname-'))

before(async () => {
  // One after the other: of two at once, the one that starts is never ended when the other does not.
  tor = await TorNetwork.start({ clients: 2 })
  node = await Regtest.start()
  for (const [name, plan] of Object.entries(PLANS)) {
    const format = FORMAT[plan.release ?? 'today']
    const port = format === 'A' || format === 'B' ? 6102 : 21
    const address = `${onionHost(name)}:${port}`
    const bond = await node.fundBond({ key: bondKey(name), format, address })
    makers.set(name, { name, plan, address, bond, confHeight: (await node.height()) + 1 })
  }
  await node.mine(3)
  const [mortal, ...others] = [...makers.values()].reverse()
  const half = Math.ceil(others.length / 2)
  processes.push(
    ...(await Promise.all(
      [others.slice(0, half), others.slice(half)].map((some) => startMakers(some.map(settingsOf))),
    )),
  )
  assert.equal(mortal?.name, 'mortal')
  writeFileSync(join(brokenDir, 'hostname'), `${onionHost('nobody serves this')}\n`)
  broken = await Tracker.start(node, {
    args: [
      ...['--onion-hostname-file', join(brokenDir, 'hostname')],
      ...['--socks-port', formatHostPort(tor.clients[1]!.socks), ...FAST],
    ],
  })
})
after(async () => {
  await broken?.[Symbol.asyncDispose]()
  rmSync(brokenDir, { recursive: true })
  for (const maker of processes) await maker[Symbol.asyncDispose]()
  await tor?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

function settingsOf({ name, plan, address, bond, confHeight }: Announced): MakerSettings {
  const [host, port] = address.split(':') as [string, string]
  const isOld = plan.release?.startsWith('0.1') || plan.release?.startsWith('0.2.0') || plan.release === '0.2.1'
  return {
    ...plan,
    name,
    reach: { control: tor.clients[1]!.control, virtualPort: Number(port) },
    bond: {
      outpoint: formatOutpoint(bond.outpoint),
      amountSats: bond.amountSats,
      lockHeight: bond.lockHeight,
      confHeight,
      certAddress: isOld ? address : host,
    },
  }
}

const FAST = ['--allow-test-addresses', '--probe-interval', '3', '--probe-timeout', '10', '--probes-at-once', '16']

function torFlags(): string[] {
  const { control, socks } = tor.clients[0]!
  return ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks), ...FAST]
}

async function rows(tracker: Tracker): Promise<Map<string, MakerRow>> {
  const { stdout, stderr } = await runVerb([
    'makers',
    '--json',
    '--network',
    'regtest',
    '--datadir',
    tracker.dataDir,
    ...FAST,
  ])
  assert.equal(stderr, '')
  const byAddress = new Map((JSON.parse(stdout) as MakerRow[]).map((row) => [row.address, row]))
  return new Map([...makers.values()].map(({ name, address }) => [name, byAddress.get(address)!]))
}

function probesOf(tracker: Tracker, name: string): ProbeRow[] {
  using db = openStoreReadonly(tracker.dataDir)
  return readProbes(db, makers.get(name)!.address, 1_000)
}

/** The makers that answer whoever asks. */
const GOOD = Object.keys(PLANS).filter((name) => !['silent', 'closes', 'rubbish', 'huge', 'mortal'].includes(name))

test('every dialect and every lie through Tor; the mute are down; one dies and returns; our own faults judge nobody', async (t) => {
  await using tracker = await Tracker.start(node, { args: torFlags() })
  await tracker.caughtUp(node)
  const mortal = [settingsOf(makers.get('mortal')!)]
  let life = await startMakers(mortal)
  t.after(() => life.kill())

  let seen = new Map<string, MakerRow>()
  const said = (name: string) => {
    const { reach, proven, proof_failed } = seen.get(name)!
    return `${name}: ${reach}, ${proven ? 'proven' : (proof_failed ?? 'no proof')}`
  }
  const expected = Object.entries(PLANS).map(([name, { manners, lie }]) => {
    if (lie) return `${name}: up, ${LIES[lie].breaks ?? 'proven'}`
    if (manners === 'closes') return `${name}: unknown, no proof`
    return manners && manners !== 'slow' ? `${name}: down, no proof` : `${name}: up, proven`
  })
  await waitUntil(
    'all makers are judged',
    async () => {
      seen = await rows(tracker)
      return Object.keys(PLANS).map(said).join('\n') === expected.join('\n')
    },
    { timeoutMs: 90_000, everyMs: 500 },
  ).catch(() => assert.deepEqual(Object.keys(PLANS).map(said), expected))
  await waitUntil('it is ready', () => tracker.status()?.ready === true)

  const address = makers.get('mortal')!.address
  assert.ok((await tracker.addresses()).includes(address))
  await life.kill()
  const isListed = async () => (await tracker.addresses()).includes(address)
  await waitUntil('the dead one is not listed', async () => !(await isListed()), { timeoutMs: 120_000 })
  life = await startMakers(mortal)
  await waitUntil('it is listed again', isListed, { timeoutMs: 120_000 })

  const before = tracker.log.length
  await tor.kill(0)
  const killedMs = Date.now()
  await tracker.said('onion service down', before)
  await waitUntil('each was probed in vain, longer than makes a maker down', () =>
    GOOD.every((name) => {
      const vain = probesOf(tracker, name).filter(({ atMs }) => atMs > killedMs)
      return vain.length >= 3 && vain[0]!.atMs - vain.at(-1)!.atMs > 4_000
    }),
  )
  for (const name of GOOD) {
    const probes = probesOf(tracker, name)
    const begun = probes.filter(({ atMs }) => atMs > killedMs)
    assert.ok(
      begun.every(({ outcome }) => outcome === 'unjudged'),
      `${name}: ${JSON.stringify(begun)}`,
    )
    // Those that were under way, too; what had failed before Tor was killed may have been a lost circuit.
    const ended = probes.filter(({ atMs, latencyMs }) => atMs + latencyMs > killedMs)
    assert.ok(
      ended.every(({ outcome }) => outcome !== 'failed'),
      `${name}: ${JSON.stringify(ended)}`,
    )
  }
  assert.match(String(tracker.status()?.not_ready), /onion service/)
  tor.restart(0)
  await waitUntil('the canary is green again', () => tracker.status()?.onion.canary?.state === 'green', {
    timeoutMs: 120_000,
  })
  await waitUntil(
    'all are up again',
    async () => {
      seen = await rows(tracker)
      return GOOD.every((name) => seen.get(name)!.reach === 'up')
    },
    { timeoutMs: 120_000 },
  )
  const downs = tracker.log.slice(before).filter(({ msg }) => msg === 'maker down')
  assert.deepEqual(
    downs.filter(({ maker }) => GOOD.some((name) => makers.get(name)!.address === maker)),
    [],
  )
  assert.equal(tracker.stderr, '')
})

test('while our own onion service does not answer nobody is judged, answers count all the same', async () => {
  const tracker = broken
  await tracker.caughtUp(node)
  await tracker.said('canary red')
  await waitUntil(
    'the mute were probed in vain, the others answered',
    async () => {
      const seen = await rows(tracker)
      const vain = ['silent', 'closes', 'huge'].every((name) => probesOf(tracker, name).length >= 4)
      return vain && seen.get('today')!.reach === 'up' && seen.get('0.1.3')!.reach === 'up'
    },
    { timeoutMs: 120_000 },
  )
  const seen = await rows(tracker)
  for (const name of ['silent', 'closes', 'huge']) {
    assert.ok(
      probesOf(tracker, name).every(({ outcome }) => outcome === 'unjudged'),
      name,
    )
    assert.equal(seen.get(name)!.reach, 'unknown', name)
  }
  assert.equal((await tracker.addresses()).length, makers.size)
  assert.match(String(tracker.status()?.not_ready), /canary: our own onion service does not answer through Tor/)
})

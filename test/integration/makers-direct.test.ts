/**
 * Makers of every release and of every bad manner and lie, probed on plain sockets by the real daemon with short
 * intervals. Through Tor: makers-tor.test.ts.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { DIALECT } from '../../src/peers/dialects.ts'
import type { MakerRow } from '../../src/views/schemas/makers.ts'
import { encode } from '../../src/wire/cbor.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { LIES, type LieName } from '../sandbox/lies.ts'
import { type MakerPlan, type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import { offerMessage, type Release } from '../sandbox/offer.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'

const FAST = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1', '--probe-timeout', '6']

interface Announced {
  name: string
  address: string
  port: number
  bond: FundedBond
  confHeight: number
}

let node: Regtest
const servers = new Map<string, MakerServer>()
const makers = new Map<string, Announced>()

const RELEASES: readonly Release[] = ['0.1.2', '0.1.3', '0.1.3-taproot', '0.2.0', '0.2.0-taproot', '0.2.1', 'today']
const MANNERS = ['silent', 'slow', 'closes', 'rubbish', 'huge'] as const
/** Who closes at once may live, and nobody knows. */
const OF_MANNERS: Partial<Record<(typeof MANNERS)[number], string>> = {
  slow: 'up, proven',
  closes: 'unknown, no proof',
}
const LIE_NAMES = Object.keys(LIES) as LieName[]

before(async () => {
  node = await Regtest.start()
  const names = [...RELEASES, ...MANNERS, ...LIE_NAMES.map((lie) => `lie ${lie}`)]
  const ports = await freePorts(names.length)
  for (const [i, name] of names.entries()) {
    const address = `127.0.0.1:${ports[i]}`
    const isOld = name.startsWith('0.1')
    const bond = await node.fundBond({ key: bondKey(name), format: isOld ? 'A' : 'B', address, amountSats: 50_000 + i })
    makers.set(name, { name, address, port: ports[i]!, bond, confHeight: (await node.height()) + 1 })
  }
  await node.mine(3)
  for (const release of RELEASES) await serve(release, { release })
  for (const manners of MANNERS) await serve(manners, { manners, delayMs: 300 })
  for (const lie of LIE_NAMES) await serve(`lie ${lie}`, { lie })
})
after(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function serve(name: string, plan: MakerPlan): Promise<void> {
  await servers.get(name)?.[Symbol.asyncDispose]()
  const { address, port, bond, confHeight } = makers.get(name)!
  const otherKey = bondKey(name, 1)
  const offered = { ...bond, confHeight, certAddress: address }
  servers.set(name, await serveMaker({ ...plan, listenPort: port, bond: offered, otherKey, pongAddress: address }))
}

function verbFlags(tracker: Tracker): string[] {
  return ['--network', 'regtest', '--datadir', tracker.dataDir, ...FAST]
}

async function rows(tracker: Tracker): Promise<Map<string, MakerRow>> {
  const { stdout, stderr } = await runVerb(['makers', '--json', ...verbFlags(tracker)])
  assert.equal(stderr, '')
  const byAddress = new Map((JSON.parse(stdout) as MakerRow[]).map((row) => [row.address, row]))
  return new Map([...makers.values()].map(({ name, address }) => [name, byAddress.get(address)!]))
}

test('every release is proven, every bad manner ends down but closing at once, every lie is named; they return, and Get follows', async () => {
  await using tracker = await Tracker.start(node, { args: FAST })
  await tracker.caughtUp(node)

  let seen = new Map<string, MakerRow>()
  const said = (name: string) => {
    const { reach, proven, proof_failed } = seen.get(name)!
    return `${name}: ${reach}, ${proven ? 'proven' : (proof_failed ?? 'no proof')}`
  }
  const expected = [
    ...RELEASES.map((release) => `${release}: up, proven`),
    ...MANNERS.map((manners) => `${manners}: ${OF_MANNERS[manners] ?? 'down, no proof'}`),
    ...LIE_NAMES.map((lie) => `lie ${lie}: up, ${LIES[lie].breaks ?? 'proven'}`),
  ]
  await waitUntil(
    'all makers are judged',
    async () => {
      seen = await rows(tracker)
      return [...makers.keys()].map(said).join('\n') === expected.join('\n')
    },
    { timeoutMs: 60_000, everyMs: 500 },
  ).catch(() => assert.deepEqual([...makers.keys()].map(said), expected))

  assert.deepEqual(seen.get('today')!.offer && { ...seen.get('today')!.offer, seen_at: 0 }, {
    seen_at: 0,
    base_fee: 500,
    amount_relative_fee_pct: 0.0025,
    time_relative_fee_pct: 0.0001,
    required_confirms: 1,
    minimum_locktime: 10,
    min_size: 10_000,
    max_size: 1_000_000,
    swap_fee: 545,
    lightning: null,
    lightning_fault: null,
  })
  assert.deepEqual(seen.get('today')!.protocols, ['Legacy', 'Taproot'])
  assert.equal(seen.get('0.1.3-taproot')!.dialect, 'taproot-prefixed')
  assert.equal(seen.get('silent')!.uptime_1d_ppm, 0)
  assert.equal(seen.get('today')!.uptime_ppm, 1_000_000)

  const downs = ['silent', 'rubbish', 'huge'].map((name) => makers.get(name)!.address)
  const listed = await tracker.addresses()
  assert.equal(listed.length, makers.size - downs.length)
  assert.ok(downs.every((address) => !listed.includes(address)))
  const makersUp = async () => (await tracker.ask({ type: 'Status' }, 'Status')).makersUp
  await waitUntil('all others but one count as up', async () => (await makersUp()) === makers.size - downs.length - 1)

  const why = async (address: string) => {
    const { listed, reasons } = await tracker.ask({ type: 'Why', address }, 'Why')
    return [listed, ...reasons.map(({ code }) => code)]
  }
  assert.deepEqual(await why(downs[0]!), [false, 'down', 'not-proven'])
  assert.deepEqual(await why(makers.get('lie amount')!.address), [true, 'proof-failed'])
  assert.deepEqual(await why(makers.get('today')!.address), [true])
  assert.deepEqual(await why(makers.get('closes')!.address), [true, 'failing', 'not-proven'])
  assert.deepEqual(await why('127.0.0.1:1'), [false, 'no-bond'])
  assert.deepEqual(await why('x.onion:1'), [false, 'malformed-address'])

  const asked = await runVerb(['query', `127.0.0.1:${tracker.port}`, 'why', downs[0]!, ...FAST, '--network', 'regtest'])
  assert.match(
    asked.stdout,
    /NOT listed\n- down: .* is down: \d+ probes in a row failed since .* \(it never answered\)/,
  )
  const shown = await runVerb(['makers', '--sort', 'fee', ...verbFlags(tracker)])
  assert.match(
    shown.stdout,
    /^ADDRESS .*\n127.0.0.1:\d+ +up .* 500 sat \+ 0.0025 % \+ 0.0001 %\/block +10000 to 1000000 +Legacy, Taproot/,
  )
  const told = async () => (await runVerb(['status', ...verbFlags(tracker)])).stdout
  await waitUntil('the report tells it', async () => /makers +\d+ up, 3 down, \d+ unknown/.test(await told()))

  await serve('silent', {})
  // It was asked ever more rarely.
  const isListed = async () => (await tracker.addresses()).includes(downs[0]!)
  await waitUntil('the silent one is listed again', isListed, { timeoutMs: 60_000 })
  await servers.get('today')![Symbol.asyncDispose]()
  servers.delete('today')
  const today = makers.get('today')!.address
  await waitUntil('the dead one is not', async () => !(await tracker.addresses()).includes(today))

  assert.equal(await tracker.stop(), 0)
  const { stdout } = await runVerb(['why', today, ...verbFlags(tracker)])
  assert.match(
    stdout,
    /NOT listed\n- not-synced: .*the daemon is not running.*\n- down: .* is down: \d+ probes in a row/,
  )
  tracker.launch()
  await tracker.caughtUp(node)
  assert.ok(!(await tracker.addresses()).includes(today), 'down outlives a restart')
})

test('a Post is verified like an offer: it proves a bond that the chain has, names the check that fails, adds nothing', async () => {
  const address = '127.0.0.1:1'
  const fund = (name: string) => node.fundBond({ key: bondKey(name), format: 'B', address })
  const bonds = { old: await fund('post old'), today: await fund('post today') }
  await node.mine(1)
  const confHeight = await node.height()
  const pending = await fund('post pending')
  await using tracker = await Tracker.start(node, { args: ['--no-tor', '--allow-test-addresses'] })
  await tracker.caughtUp(node)

  /** As the maker would post it; with `keys` as we add them. */
  const post = (name: string, bond: FundedBond, release: Release, lie?: LieName) => {
    const offered = { ...bond, key: bondKey(name), confHeight, certAddress: address }
    const message = offerMessage(offered, { release, ...(lie && { lie: { name: lie, otherKey: bondKey(name, 1) } }) })
    const read = DIALECT.unified.asks.at(-1)!.read(encode(message))
    assert(read.ok && read.reply.type === 'offer')
    const { proof, tweakablePoint, tweakChainCode } = read.reply.offer
    return { url: address, proof, tweakablePoint, ...(tweakChainCode && { tweakChainCode }) }
  }
  const refused = async (metadata: ReturnType<typeof post>) => {
    const { code, message } = await tracker.ask({ type: 'Post', metadata }, 'Error')
    return `${code}: ${message.split(/[:,]/)[0]}`
  }
  const before = await tracker.ask({ type: 'Status' }, 'Status')

  const old = post('post old', bonds.old, '0.2.1')
  assert.deepEqual(await tracker.ask({ type: 'Post', metadata: old }, 'Posted'), {
    type: 'Posted',
    outpoint: bonds.old.outpoint,
    address,
  })
  const today = post('post today', bonds.today, 'today')
  assert.equal((await tracker.ask({ type: 'Post', metadata: today }, 'Posted')).address, address)
  const { tweakChainCode: _, ...withoutKeys } = today
  const { stdout } = await runVerb(['makers', '--json', '--network', 'regtest', '--datadir', tracker.dataDir])
  assert.equal((JSON.parse(stdout) as MakerRow[]).find((row) => row.address === address)?.proven, true)

  const failed = (check: string) => `bad_request: the proof failed the check ${check}`
  for (const lie of Object.keys(LIES) as LieName[]) {
    if (lie === 'passed-lock') continue // the tip is too low for it
    if (LIES[lie].breaks === undefined) continue // no lie that anybody minds
    assert.equal(await refused(post('post today', bonds.today, 'today', lie)), failed(LIES[lie].breaks), lie)
  }
  assert.equal(await refused(withoutKeys), failed('malformed'))
  const shortHash = { ...old, proof: { ...old.proof, certHash: Buffer.alloc(20) } }
  assert.equal(await refused(shortHash), failed('malformed'), 'as the reference tracker declares it')
  assert.equal(await refused({ ...old, url: '127.0.0.1:2' }), failed('cert-hash'))
  assert.equal(await refused(post('post pending', pending, 'today')), failed('unconfirmed'))
  assert.match(await refused({ ...old, url: 'nonsense' }), /^bad_request: url/)
  const after = await tracker.ask({ type: 'Status' }, 'Status')
  assert.deepEqual([after.bonds, after.digest], [before.bonds, before.digest])
})

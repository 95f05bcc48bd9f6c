/** Offers that can't be meant, and proofs that a reorg has put out of date: what is shown of them, beside honest makers. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MakerRow } from '../../src/views/schemas/makers.ts'
import { Float } from '../../src/wire/cbor.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { type MakerPlan, type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'

const FAST = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1', '--probe-timeout', '6']

const LIGHTNING = {
  ...{ swap_in: true, swap_out: true, base_fee: 100, amount_relative_fee_pct: new Float(0.1) },
  ...{ min_size: 10_000, max_size: 1_000_000 },
}
const { max_size: _, ...UNSIZED } = LIGHTNING
const LIGHTNING_LATER = { ...UNSIZED, swap_out: false, max_swap_in: 900_000, max_swap_out: 0, node: 'x' }
const SHOWN = { ...LIGHTNING, amount_relative_fee_pct: 0.1, max_swap_in: null, max_swap_out: null }

/** What each says in its offer, and what is said of it; undefined: nothing, its offer is shown. */
const OFFERS: Record<string, { plan: MakerPlan; fault?: RegExp }> = {
  honest: { plan: {} },
  'negative fee': {
    plan: { terms: { amount_relative_fee_pct: new Float(-1) } },
    fault: /^amount_relative_fee_pct: expected 0 to 100, got -1$/,
  },
  'fee of no number': {
    plan: { terms: { time_relative_fee_pct: new Float(Number.NaN) } },
    fault: /time_relative_fee_pct: expected a finite number/,
  },
  'endless fee': {
    plan: { terms: { time_relative_fee_pct: new Float(1e300) } },
    fault: /^time_relative_fee_pct: expected 0 to 100, got 1e\+300$/,
  },
  'negative base fee': { plan: { terms: { base_fee: -1 } }, fault: /base_fee: expected a whole number from 0/ },
  'more than there is': {
    plan: { terms: { max_size: 2 ** 53 - 1 } },
    fault: /^max_size: expected .* 2100000000000000/,
  },
  'sizes turned round': { plan: { terms: { min_size: 2_000_000 } }, fault: /^min_size: expected at most max_size/ },
  'no confirmations': { plan: { terms: { required_confirms: 0xffff_ffff } }, fault: /^required_confirms: / },
  'text for a fee': { plan: { terms: { base_fee: '\u001b[2J' } }, fault: /base_fee: expected .* got a text of 4/ },
  'with Lightning': { plan: { terms: { lightning: LIGHTNING } } },
  'Lightning of tomorrow': { plan: { terms: { lightning: LIGHTNING_LATER, something: [null] } } },
  'broken Lightning': { plan: { terms: { lightning: { ...LIGHTNING, base_fee: -1 } } } },
  unsupporting: {
    plan: { isUnsupporting: true },
    fault: /^the maker answers Unsupported when asked for it: GetOffer: Lightning\?\[2J only$/,
  },
  'old taproot': {
    plan: { release: '0.1.3-taproot', terms: { amount_relative_fee: new Float(-0.5) } },
    fault: /^amount_relative_fee_pct: expected 0 to 100, got -0\.5$/,
  },
}

let node: Regtest
const bonds = new Map<string, FundedBond & { port: number; confHeight: number }>()
const servers = new Map<string, MakerServer>()

before(async () => {
  node = await Regtest.start()
  const names = [...Object.keys(OFFERS), 'turning', 'moved']
  const ports = await freePorts(names.length)
  for (const [i, name] of names.entries()) {
    const format = OFFERS[name]?.plan.release === undefined ? 'B' : 'A'
    const plan = { key: bondKey(name), format, address: `127.0.0.1:${ports[i]}`, amountSats: 50_000 + i } as const
    // The last is alone in its block, which is taken back later.
    if (name === 'moved') await node.mine(3)
    bonds.set(name, { ...(await node.fundBond(plan)), port: ports[i]!, confHeight: (await node.height()) + 1 })
  }
  await node.mine(1)
  for (const [name, { plan }] of Object.entries(OFFERS)) await serve(name, plan)
  await serve('turning', { lie: 'amount' })
  await serve('moved', {})
})
after(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function serve(name: string, plan: MakerPlan): Promise<void> {
  await servers.get(name)?.[Symbol.asyncDispose]()
  const { address, port, ...bond } = bonds.get(name)!
  const offered = { ...bond, certAddress: address }
  const otherKey = bondKey(name, 1)
  servers.set(name, await serveMaker({ ...plan, listenPort: port, bond: offered, otherKey, pongAddress: address }))
}

function verb(tracker: Tracker, ...args: string[]): ReturnType<typeof runVerb> {
  return runVerb([...args, '--network', 'regtest', '--datadir', tracker.dataDir, ...FAST])
}

async function rowsOverHttp(tracker: Tracker): Promise<Map<string, MakerRow>> {
  const { status, json, text } = await ask(tracker.httpPort!, '/api/v1/makers?limit=1000')
  assert.equal(status, 200, text)
  const rows = new Map((json.makers as MakerRow[]).map((row) => [row.address, row]))
  return new Map([...bonds].map(([name, { address }]) => [name, rows.get(address)!]))
}

test('an offer that can’t be meant costs its maker the offer’s place, and nobody else anything', async () => {
  await using tracker = await Tracker.start(node, { args: FAST, http: true })
  await tracker.caughtUp(node)
  const asked = ({ reach, offer, offer_fault }: MakerRow) => reach === 'up' && (offer !== null || offer_fault !== null)
  let rows = new Map<string, MakerRow>()
  await waitUntil(
    'all were asked',
    async () => {
      rows = await rowsOverHttp(tracker)
      return [...rows.values()].every(asked)
    },
    { timeoutMs: 60_000, everyMs: 300 },
  )
  for (const [name, { fault }] of Object.entries(OFFERS)) {
    const { offer, offer_fault } = rows.get(name)!
    assert.equal(offer === null, fault !== undefined, name)
    if (fault) assert.match(offer_fault!, fault, name)
    else assert.equal(offer_fault, null, name)
  }
  assert.equal(rows.get('honest')!.offer!.swap_fee, 545)
  const lightningOf = (name: string) => rows.get(name)!.offer!.lightning
  assert.equal(lightningOf('honest'), null)
  assert.deepEqual(lightningOf('with Lightning'), SHOWN)
  const later = { ...SHOWN, swap_out: false, max_size: null, max_swap_in: 900_000, max_swap_out: 0 }
  assert.deepEqual(lightningOf('Lightning of tomorrow'), later)
  const { lightning, lightning_fault, swap_fee } = rows.get('broken Lightning')!.offer!
  assert.deepEqual([lightning, swap_fee, rows.get('broken Lightning')!.proven], [null, 545, true])
  assert.match(lightning_fault!, /lightning\.base_fee: expected a whole number from 0 .*, got the number -1/)
  assert.match((await verb(tracker, 'makers')).stdout, / Legacy, Taproot, Lightning in and out$/m)
  assert.match(
    (await verb(tracker, 'why', bonds.get('unsupporting')!.address)).stdout,
    /is listed\n- offer-refused: .*Unsupported/,
  )
  assert.equal(rows.get('negative fee')!.proven, true, 'the proof beside it holds all the same')
  assert.equal(rows.get('old taproot')!.reach, 'up')

  const { stdout } = await verb(tracker, 'makers', '--sort', 'fee', '--json')
  const [first] = JSON.parse(stdout) as MakerRow[]
  assert.notEqual(first!.offer, null, 'who names no fee that can be meant is not the cheapest')
  const address = bonds.get('negative fee')!.address
  assert.match(
    (await verb(tracker, 'makers')).stdout,
    new RegExp(`^${address} .* broken: amount_relative_fee_pct`, 'm'),
  )
  const why = await verb(tracker, 'why', address)
  assert.match(why.stdout, /is listed\n- offer-refused: its last offer \(.*\) can't be used.*got -1\. Correct/)
  const csv = await verb(tracker, 'export', 'makers', '--format', 'csv')
  assert.equal(csv.stdout.trim().split('\r\n').length, 1 + bonds.size)

  // The maker of a good offer makes a bad one: the good one is no longer shown.
  assert.equal(rows.get('turning')!.offer!.swap_fee, 545)
  const turning = async () => (await rowsOverHttp(tracker)).get('turning')!
  const isSeen = (seen: (row: MakerRow) => boolean) => async () => seen(await turning())
  await serve('turning', { lie: 'amount', terms: { base_fee: -5 } })
  const isRefused = isSeen(({ offer, offer_fault: fault }) => offer === null && /base_fee/.test(fault ?? ''))
  await waitUntil('the new offer is refused', isRefused, { timeoutMs: 60_000, everyMs: 300 })
  assert.equal(await tracker.stop(), 0)
  tracker.launch()
  await tracker.caughtUp(node)
  assert.match((await turning()).offer_fault!, /base_fee/, 'known across a restart')
  const after = await rowsOverHttp(tracker)
  for (const name of ['with Lightning', 'Lightning of tomorrow', 'broken Lightning', 'unsupporting']) {
    const [now, before] = [after.get(name)!, rows.get(name)!]
    assert.deepEqual(
      [now.offer?.lightning, now.offer?.lightning_fault],
      [before.offer?.lightning, before.offer?.lightning_fault],
      name,
    )
    assert.equal(now.offer_fault, before.offer_fault)
  }
  await serve('turning', { lie: 'amount', terms: { base_fee: 7 } })
  const isShown = isSeen(({ offer, offer_fault: fault }) => offer?.base_fee === 7 && fault === null)
  await waitUntil('the next one is shown', isShown, { timeoutMs: 60_000, everyMs: 300 })
})

test('a maker whose bond a reorg has moved keeps its old height, and is proven with a note', async () => {
  await using tracker = await Tracker.start(node, { args: FAST, http: true })
  await tracker.caughtUp(node)
  const { address, confHeight } = bonds.get('moved')!
  const row = async () => (await rowsOverHttp(tracker)).get('moved')
  const wait = { timeoutMs: 60_000, everyMs: 300 }
  await waitUntil('its proof is seen', async () => (await row())?.proven === true, wait)
  assert.equal((await row())!.proof_note, null)

  await node.replaceTip({ drop: 1, mine: 2 })
  await node.mine(1)
  await tracker.caughtUp(node)
  const moved = confHeight + 2
  await waitUntil(
    'it is proven in its new block',
    async () => {
      const { proven, conf_height, proof_note, proof_failed } = (await row()) ?? {}
      return proven && conf_height === moved && proof_failed === null && proof_note !== null
    },
    wait,
  )
  const note = `confirmed at height ${moved}, the proof says ${confHeight}`
  assert.equal((await row())!.proof_note, note)
  const { stdout } = await verb(tracker, 'why', address)
  assert.ok(stdout.startsWith(`${address} is listed\n- conf-height: `), stdout)
  assert.ok(stdout.includes(note), stdout)
  assert.match(
    (await verb(tracker, 'makers')).stdout,
    new RegExp(`^${address} .* proven \\(older takers refuse it\\)`, 'm'),
  )
})

/**
 * `Bonds` over the wire against real trackers on one real chain. Method: bonds of every state, asked for in pages of
 * every size; then two trackers that must name the same rows and the same digest after each turn of the chain.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareOutpoints } from '../../src/bonds/digest.ts'
import { asTxid, formatOutpoint, NO_BLOCK, type Outpoint } from '../../src/chain/types.ts'
import { ask } from '../../src/wire/client.ts'
import type { BondFields, Reply, Request } from '../../src/wire/messages.ts'
import { walkBonds } from '../../src/wire/walk.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'

type Page = Extract<Reply, { type: 'Bonds' }>
type Asked = Omit<Extract<Request, { type: 'Bonds' }>, 'type'>

const page = (tracker: Tracker, asked: Asked = {}): Promise<Page> => tracker.ask({ type: 'Bonds', ...asked }, 'Bonds')

/** All pages, by hand: the client's own walk is tested against it. */
async function pages(tracker: Tracker, limit: number, asked: Asked = {}): Promise<Page[]> {
  const all = [await page(tracker, { ...asked, limit })]
  for (let next = all[0]!.next; next; next = all.at(-1)!.next) {
    all.push(await page(tracker, { ...asked, limit, after: next }))
  }
  return all
}

const names = (bonds: readonly BondFields[]) => bonds.map(({ outpoint }) => formatOutpoint(outpoint))
const outpointsOf = (bonds: readonly FundedBond[]) => bonds.map(({ outpoint }) => outpoint).sort(compareOutpoints)

function fund(node: Regtest, name: string, plan: { amountSats?: number; lockBlocks?: number; isPlain?: boolean } = {}) {
  return node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21`, ...plan })
}

test('pages of every size hold the same rows in the order of the digest, with every field told', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const live: FundedBond[] = []
  for (let i = 0; i < 7; i++) live.push(await fund(node, `live${i}`, { amountSats: 50_000 + 10_000 * i }))
  const refused = await fund(node, 'plain', { isPlain: true })
  const ending = await fund(node, 'ending', { lockBlocks: 1 })
  const expired = await fund(node, 'expired', { lockBlocks: 1 })
  const [blockHash] = await node.mine(1)
  await node.mine(1)
  await node.spendBond(ending)
  await node.mine(1)
  await tracker.caughtUp(node)
  const pending = await fund(node, 'pending')
  const tip = await tracker.ask({ type: 'Status' }, 'Status')

  const whole = await page(tracker)
  assert.deepEqual(names(whole.bonds), outpointsOf(live).map(formatOutpoint))
  assert.deepEqual([whole.total, whole.next], [7, undefined])
  assert.deepEqual([whole.height, whole.blockHash, whole.digest], [tip.height, tip.blockHash, tip.digest])
  const block = await node.rpc<{ time: number; height: number }>('getblockheader', blockHash)
  const { value, ...row } = whole.bonds.find(({ address }) => address === live[3]!.address)!
  assert(value > 0)
  assert.deepEqual(row, {
    outpoint: live[3]!.outpoint,
    address: live[3]!.address,
    amountSats: 80_000,
    confHeight: block.height,
    blockHash,
    blockTimeS: block.time,
    lockHeight: live[3]!.lockHeight,
    format: 'D',
    state: 'live',
    proven: false,
    reach: 'unknown',
    probes: 0,
    today: true,
  })

  for (const limit of [1, 2, 3, 6, 7, 8, 1_000]) {
    const parts = await pages(tracker, limit)
    assert.equal(parts.length, Math.ceil(7 / limit), `pages of ${limit}`)
    assert.deepEqual(
      parts.flatMap(({ bonds }) => bonds),
      whole.bonds,
    )
    assert(parts.every((part) => part.total === 7 && part.blockHash === whole.blockHash))
  }

  const all = await waitUntil('the pending bond is told', async () => {
    const reply = await page(tracker, { all: true })
    return reply.total === 11 && reply
  })
  const states = new Map(all.bonds.map((bond) => [formatOutpoint(bond.outpoint), bond]))
  const stateOf = ({ outpoint }: FundedBond) => states.get(formatOutpoint(outpoint))
  assert.deepEqual([stateOf(refused)?.state, stateOf(refused)?.refusal], ['refused', 'not-p2wsh'])
  assert.equal(stateOf(ending)?.state, 'spent')
  assert.equal(stateOf(expired)?.state, 'expired')
  const seen = stateOf(pending)!
  assert.deepEqual([seen.state, seen.confHeight, seen.blockHash, seen.blockTimeS], ['pending', 0, NO_BLOCK, 0])
  assert.deepEqual(
    all.bonds.map(({ outpoint }) => outpoint),
    outpointsOf([...live, refused, ending, expired, pending]),
  )
  assert.deepEqual(all.digest, whole.digest, 'the digest is that of the live ones whatever is asked')

  const values = whole.bonds.map((bond) => bond.value).sort((a, b) => a - b)
  const dear = await page(tracker, { minValue: values[3]!, limit: 2 })
  assert.deepEqual([dear.total, dear.bonds.length], [4, 2])
  assert.deepEqual(
    (await pages(tracker, 2, { minValue: values[3]! })).flatMap(({ bonds }) => names(bonds)),
    names(whole.bonds.filter((bond) => bond.value >= values[3]!)),
  )
  assert.equal((await page(tracker, { minValue: values[6]! + 1, all: true })).total, 0)

  // `after` is a place in the order, whether or not a bond is there.
  const third = whole.bonds[2]!.outpoint
  const afterThird = names(whole.bonds.slice(3))
  assert.deepEqual(names((await page(tracker, { after: third })).bonds), afterThird)
  assert.deepEqual(names((await page(tracker, { after: { ...third, vout: 0xffffffff } })).bonds), afterThird)
  const before: Outpoint = { txid: asTxid('00'.repeat(32)), vout: 0 }
  assert.equal((await page(tracker, { after: before })).bonds.length, 7)
  const end = await page(tracker, { after: { txid: asTxid('ff'.repeat(32)), vout: 0 } })
  assert.deepEqual([end.bonds, end.total, end.next], [[], 7, undefined])

  for (const limit of [0, 1_001, 0xffffffff]) {
    const refusal = await tracker.ask({ type: 'Bonds', limit }, 'Error')
    assert.equal(refusal.code, 'bad_request')
    assert.match(refusal.message, /^Bonds\.limit: expected 1 to 1000/)
  }
})

test('a page of another block says so, and the walk begins anew', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const first = [await fund(node, 'a'), await fund(node, 'b'), await fund(node, 'c')]
  await node.mine(1)
  await tracker.caughtUp(node)
  const socket = await tracker.connect()
  try {
    let asked = 0
    const heights: number[] = []
    const later: FundedBond[] = []
    const list = await walkBonds(
      async (request) => {
        if (++asked === 3) {
          later.push(await fund(node, 'd'))
          await node.mine(1)
          await tracker.caughtUp(node)
        }
        const reply = await ask(socket, request, { timeoutMs: 20_000 })
        if (reply.type === 'Bonds') heights.push(reply.height)
        return reply
      },
      { limit: 1 },
    )
    assert(list.type === 'Bonds')
    assert.deepEqual(
      list.bonds.map(({ outpoint }) => outpoint),
      outpointsOf([...first, ...later]),
    )
    assert.deepEqual(heights, [111, 111, 112, 112, 112, 112, 112])
    assert.equal(list.height, 112)
  } finally {
    socket.destroy()
  }
})

test('two trackers on one chain name the same rows and the same digest, through reorgs', async () => {
  await using node = await Regtest.start({ blocks: 130 })
  await using one = await Tracker.start(node)
  await using other = await Tracker.start(node)
  const digests = new Set<string>()
  const agree = async (live: number) => {
    await one.caughtUp(node)
    await other.caughtUp(node)
    const [a, b] = [await page(one), await page(other)]
    assert.deepEqual(a, b)
    assert.equal(a.total, live)
    digests.add(Buffer.from(a.digest).toString('hex'))
  }
  await agree(0)
  for (const name of ['a', 'b', 'c']) await fund(node, name)
  await node.mine(2)
  await agree(3)
  const late = await fund(node, 'late')
  await node.mine(3)
  await agree(4)
  await node.replaceTip({ drop: 3, mine: 4 })
  await agree(3)
  assert.equal(await node.mineWith([late.hex]), await node.tipHash())
  await agree(4)
  await node.replaceTip({ drop: 6, mine: 8 })
  await agree(3)
  // bitcoind dropped it: for a moment its locktime had not come.
  await node.rpc('sendrawtransaction', late.hex)
  await node.mine(1)
  await agree(4)
  assert.equal(digests.size, 5, 'one for each of the five different sets and places')

  const run = async (...args: string[]) => {
    const result = await runVerb(['query', `127.0.0.1:${one.port}`, 'bonds', ...args, '--network', 'regtest'])
    assert.equal(result.code, 0, result.stderr)
    return result.stdout
  }
  const json = JSON.parse(await run('--json'))
  assert.deepEqual([json.total, json.bonds.length, json.height], [4, 4, await node.height()])
  assert.equal(json.bonds[0].amount, 50_000)
  assert.match(await run('--all'), /live +\S+\.onion:21 +D +50000 .*\n4 bonds at block/s)
})

test('before it is synced a tracker gives no list and no proof', async () => {
  await using node = await Regtest.start()
  await node.stop()
  await using tracker = await Tracker.start(node)
  await waitUntil('it listens', () => tracker.logged('listening'))
  for (const request of [
    { type: 'Bonds' },
    { type: 'BondProof', outpoint: { txid: asTxid('ab'.repeat(32)), vout: 0 } },
  ] satisfies Request[]) {
    assert.equal((await tracker.ask(request, 'Error')).code, 'not_synced')
  }
})

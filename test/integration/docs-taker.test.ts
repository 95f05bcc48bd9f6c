/**
 * The client of docs/examples, which was written from the docs alone and shares no code with us: what it makes of a real
 * tracker, through a SOCKS port as through Tor; of one that lies; and of one of version 1.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { formatOutpoint } from '../../src/chain/types.ts'
import { encodeReply } from '../../src/wire/messages.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { mineMarket } from '../sandbox/market.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { startOldTracker } from '../support/forged-tracker.ts'
import { onionHost } from '../support/onions.ts'
import { SocksProxy } from '../support/socks-proxy.ts'
import { startServer } from '../support/wire.ts'

const TAKER = new URL('../../docs/examples/taker.py', import.meta.url).pathname
const ONION = `${onionHost('tracker')}:8080`

function start(args: readonly string[]) {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'python3', '-B', TAKER, ...args])
  const said = { out: '', err: '' }
  child.stdout.on('data', (chunk) => {
    said.out += chunk
  })
  child.stderr.on('data', (chunk) => {
    said.err += chunk
  })
  return { child, said }
}

async function take(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { child, said } = start(args)
  const [code] = await once(child, 'close')
  return { code, ...said }
}

test('the Python taker finds and checks makers, asks why, and is told of a spend; lies and old trackers are told', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node)
  const bonds = await mineMarket(node, 14)
  const ending = await node.fundBond({
    key: bondKey('ending'),
    format: 'D',
    address: `${onionHost('ending')}:21`,
    lockBlocks: 2,
  })
  await node.mine(1)
  await tracker.caughtUp(node)
  await using socks = await SocksProxy.start(tracker.port)
  const tor = ['--socks', `127.0.0.1:${socks.address.port}`]

  const status = await take(ONION, 'status', ...tor)
  assert.equal(status.code, 0, status.err)
  assert.match(
    status.out,
    new RegExp(`^regtest, block \\d+ ${await node.tipHash()}, version .*\\n15 live bonds, .* true`),
  )
  assert.ok(socks.asked.every(({ host, addressType }) => `${host}:8080` === ONION && addressType === 3))
  assert.equal(new Set(socks.asked.map(({ user }) => user)).size, socks.asked.length, 'each on a circuit of its own')

  const makers = await take(`127.0.0.1:${tracker.port}`, 'makers')
  assert.equal(makers.code, 0, makers.err + makers.out)
  const listed = await tracker.addresses()
  assert.deepEqual(
    makers.out
      .split('\n')
      .slice(0, listed.length)
      .map((line) => line.split(' ')[0]),
    listed,
    'in the order of Get',
  )
  assert.match(makers.out, /15 bonds of 15 makers .*\ndigest and values are right\n$/)

  const why = await take(`127.0.0.1:${tracker.port}`, 'why', bonds[0]!.address)
  assert.match(why.out, / is listed\n/)
  assert.match((await take(`127.0.0.1:${tracker.port}`, 'why', onionHost('nobody'))).out, / is not listed\nno-bond: /)

  const outpoint = formatOutpoint(ending.outpoint)
  const { child, said } = start([`127.0.0.1:${tracker.port}`, 'watch', outpoint])
  await waitUntil('it is unspent', () => said.out.includes(`${outpoint} unspent\n`))
  await node.mine(2)
  const spend = await node.spendBond(ending)
  await waitUntil('it is told of the spend', () => said.out.includes(`${outpoint} mempool by ${spend.txid}\n`))
  await node.mine(1)
  await waitUntil('and that it is confirmed', () => said.out.includes(`${outpoint} confirmed by ${spend.txid}\n`))
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'exit'), [0, null])
  assert.match((await take(`127.0.0.1:${tracker.port}`, 'watch', outpoint, '--once')).out, / confirmed by /)

  await tracker.caughtUp(node)
  const truth = await tracker.ask({ type: 'Bonds', limit: 1_000 }, 'Bonds')
  const told = await tracker.ask({ type: 'Status' }, 'Status')
  await using liar = await startServer((request) =>
    request.type === 'Status'
      ? { send: encodeReply(told) }
      : {
          send: encodeReply({
            ...truth,
            bonds: truth.bonds.slice(1).map((row) => (row.value > 0 ? { ...row, value: row.value + 2 } : row)),
          }),
        },
  )
  const lie = await take(`127.0.0.1:${liar.port}`, 'makers')
  assert.equal(lie.code, 1)
  assert.match(lie.out, /^WRONG: the digest is not that of these bonds$/m)
  assert.match(lie.out, /^WRONG: \S+ has value \d+, not \d+$/m)

  await using old = await startOldTracker(() => [`${onionHost('a')}:6102`])
  const v1 = await take(`127.0.0.1:${old.port}`, 'makers')
  assert.equal(v1.code, 69)
  assert.match(v1.err, /speaks version 1 alone/)
  assert.equal((await take(`127.0.0.1:${tracker.port}`, 'watch')).code, 2)
})

/**
 * The verbs as people meet them: at a terminal of some width, with what they have pasted, about a transaction, with a full
 * disk behind the output. Method: one chain with a few bonds, good and bad, one tracker; the real program at a real
 * terminal (script of bsdutils).
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { MAIN, runVerb, Tracker } from '../sandbox/tracker.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'

const key = bondKey('texts')
const HOSTS = [1, 2, 3].map((number) => onionHost(`texts ${number}`))
const HOST = HOSTS[0]!

let node: Regtest
let tracker: Tracker
let bonds: FundedBond[]
let unnamed: FundedBond
let payment: string
let waiting: FundedBond

before(async () => {
  node = await Regtest.start({ blocks: 120 })
  // Worth the same: what comes first is decided by nothing but their outpoints.
  bonds = []
  for (const host of HOSTS) bonds.push(await node.fundBond({ key, format: 'D', address: `${host}:21` }))
  unnamed = await node.fundBond({ key, format: 'D', address: `${HOST}:21`, text: HOST })
  payment = (await node.pay([{ [await node.newAddress()]: '0.001' }])).txid
  await node.mine(1)
  waiting = await node.fundBond({ key, format: 'A', address: `${onionHost('waiting')}:6102` })
  tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
})
after(async () => {
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

const about = () => ['--network', 'regtest', '--datadir', tracker.dataDir]
const bitcoind = () => ['--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile]

async function said(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runVerb([...args, ...about()])
  assert.equal(code, 0, stderr)
  return stdout
}

/** What the program writes to a terminal of so many columns. */
function atTerminal(columns: number, args: readonly string[], env: NodeJS.ProcessEnv = {}): string[] {
  const command = `stty cols ${columns}; ${[process.execPath, MAIN, ...args].join(' ')}`
  const { COLUMNS: _, ...clean } = process.env
  const ended = spawnSync('script', ['-qec', command, '/dev/null'], { env: { ...clean, ...env }, encoding: 'utf8' })
  assert.equal(ended.status, 0, ended.stdout + ended.stderr)
  return ended.stdout.split('\r\n').filter((line) => line !== '')
}

test('a list has as many columns as the terminal has room for, and no address or outpoint is ever cut', async () => {
  const args = ['bonds', '--all', ...about()]
  const piped = (await said('bonds', '--all')).trim().split('\n')
  assert.match(piped[0]!, /^STATE +ADDRESS +FMT +SATS +VALUE +CONFIRMED +LOCK +LEFT +TODAY +MAKER +OUTPOINT$/)
  for (const [columns, env] of [
    [200, {}],
    [120, {}],
    [80, {}],
    [300, { COLUMNS: '80' }],
  ] as const) {
    const lines = atTerminal(columns, args, env)
    const room = Number('COLUMNS' in env ? env.COLUMNS : columns)
    for (const line of lines) if (!line.startsWith('(')) assert.ok(line.length <= room, `${columns}: ${line}`)
    for (const host of HOSTS)
      assert.ok(
        lines.some((line) => line.includes(`${host}:21`)),
        `${columns}`,
      )
    assert.match(lines.join('\n'), /^\(no room for .*outpoint: --wide shows all\)$/m)
  }
  assert.deepEqual(atTerminal(80, [...args, '--wide']), piped, 'all of it, as in a pipe')
  assert.equal(atTerminal(80, [...args, '--columns', 'outpoint,state'])[0], `${'OUTPOINT'.padEnd(66)}  STATE`)
  const { code, stderr } = await runVerb([...args, '--columns', 'nonsense'])
  assert.deepEqual([code, /no column "nonsense" here; there are state, address, /.test(stderr)], [2, true], stderr)
})

test('query bonds and bonds have one order, as text and as JSON, of equals too', async () => {
  const us = ['query', `127.0.0.1:${tracker.port}`, 'bonds']
  for (const all of [[], ['--all']]) {
    const own = JSON.parse(await said('bonds', '--json', ...all)) as { outpoint: string }[]
    const asked = JSON.parse(await said(...us, '--json', '--no-tor', ...all)).bonds as { outpoint: string }[]
    assert.deepEqual(
      asked.map(({ outpoint }) => outpoint),
      own.map(({ outpoint }) => outpoint),
    )
    const rows = (text: string) => text.split('\n').filter((line) => line.includes('.onion'))
    assert.deepEqual(rows(await said(...us, '--no-tor', ...all)), rows(await said('bonds', ...all)))
  }
})

test('why understands what is pasted: the verb, the verb that asks another tracker, and HTTP', async () => {
  const pasted = `http://${HOST.toUpperCase()}:21/`
  const listed = new RegExp(`^${HOST}:21 is listed\\n`)
  assert.match(await said('why', pasted), listed)
  assert.match(await said('why', pasted), new RegExp(`\\nfor OpenSwap's --maker-address: ${HOST}\\n$`))
  assert.match(await said('query', `127.0.0.1:${tracker.port}`, 'why', ` <${pasted}> `, '--no-tor'), listed)
  const overHttp = async (asked: string) =>
    (await ask(tracker.httpPort!, `/api/v1/why/${encodeURIComponent(asked)}`)).json as Record<string, unknown>
  assert.deepEqual([(await overHttp(pasted)).address, (await overHttp(pasted)).listed], [`${HOST}:21`, true])
  assert.equal((await overHttp(HOST)).listed, true)
  const { reasons } = await tracker.ask({ type: 'Why', address: pasted }, 'Why')
  assert.deepEqual(
    reasons.map(({ code }) => code),
    ['malformed-address'],
    'the wire takes what is sent as it is',
  )
  const ports = /no-bond: its host was announced with :21, not with :6102: ask about /
  assert.match(await said('why', `${HOST}:6102`), ports)
})

test('why of a transaction: a bond, one that waits, one that lacks something, none at all, one that nobody knows', async () => {
  const why = (txid: string) => said('why', txid, ...bitcoind())
  const [bond] = bonds
  const height = await node.height()
  assert.match(
    await why(` ${bond!.txid.toUpperCase()}:0`),
    new RegExp(
      `^${bond!.txid}, in block ${height}, announces ${HOST}:21 .* with 50000 sats .*\\n${HOST}:21 is listed\\n`,
    ),
  )
  const waits = await why(waiting.txid)
  assert.match(waits, /, in the mempool, announces \S+:6102 \(format A\) .*\n\S+ is NOT listed\n- pending: /)
  assert.match(waits, /- not-today: .* announced in the old format A, /)
  const told = new RegExp(
    `, in block ${height}, announces no bond\n- output 1 says "${HOST}": #<lock height> is missing .*\nAn announcement is `,
  )
  assert.match(await why(unnamed.txid), told)
  assert.match(await why(payment), /announces no bond\n(- .*\n)*- none of its outputs is OP_RETURN/)
  assert.match(
    await why('ab'.repeat(32)),
    /can't be read\n- bitcoind has it neither in its mempool .* only a bitcoind with txindex=1/,
  )
  const json = JSON.parse(await said('why', unnamed.txid, '--json', ...bitcoind()))
  assert.deepEqual([json.found, json.announces, json.height, json.reasons.length], [true, null, height, 1])
  const away = await runVerb(['why', payment, ...about(), '--rpc', '127.0.0.1:1', '--cookie-file', node.cookieFile])
  assert.equal(away.code, 69, away.stderr)
})

test('query watch leaves a registration at the tracker, and says so; with --no-register it leaves none', async () => {
  const outpoint = `${bonds[1]!.txid}:0`
  const watch = (...args: string[]) =>
    runVerb(['query', `127.0.0.1:${tracker.port}`, 'watch', outpoint, '--no-tor', ...about(), ...args])
  const taken = async () => /^(\d+) of /.exec(await said('watches'))![1]
  const asked = await watch('--no-register')
  assert.deepEqual([asked.code, asked.stderr, asked.stdout], [0, '', `${outpoint}  unspent\n`])
  assert.equal(await taken(), '0')
  const registering = await watch()
  assert.match(
    registering.stderr,
    /^asked as takers do, .* for 2,016 blocks if a place is free: --no-register only asks\n$/,
  )
  assert.equal(await taken(), '1')
})

test('a full disk behind the output is told in one line, with the exit code of what can’t be written', async () => {
  const full = ['sh', '-c', 'exec "$0" "$@" >/dev/full']
  for (const args of [
    ['bonds', ...about()],
    ['bonds', '--help'],
    ['export', ...about()],
  ]) {
    const { code, stderr } = await runVerb(args, {}, full)
    assert.equal(code, 74, stderr)
    assert.match(
      stderr,
      /^fidelity-tracker: standard output can't be written: ENOSPC: no space left on device, write\n$/,
    )
  }
  const [port] = await freePorts(1)
  const start = ['start', ...about().slice(0, 2), '--datadir', `${tracker.dataDir}/full`, '--no-tor', '--http', 'off']
  const daemon = await runVerb([...start, '--nostr', 'off', '--address', `127.0.0.1:${port}`, ...bitcoind()], {}, full)
  assert.equal(daemon.code, 74, daemon.stderr)
  assert.equal(daemon.stderr.trim().split('\n').length, 1, daemon.stderr)
})

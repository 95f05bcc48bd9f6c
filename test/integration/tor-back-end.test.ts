/**
 * A back end of Onionbalance at its Tor's control port, without a network: the service is there while the tracker is ready,
 * and not when it is not, when it is killed, frozen or stopped. Whether anybody is served is for tor-onionbalance.test.ts.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { TorControl } from '../../src/tor/control.ts'
import { LoneTor } from '../sandbox/lone-tor.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { assertFinding, doctor, nodeFlags } from '../support/doctor.ts'
import { onionHost } from '../support/onions.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
let tor: LoneTor
let control: TorControl
const FRONT = onionHost('front')

before(async () => {
  node = await Regtest.start({ blocks: 5 })
  tor = await LoneTor.at()
  await tor.start((await runVerb(['print-torrc', ...tor.flags])).stdout.split('\n'))
  control = new TorControl({ control: { host: '127.0.0.1', port: tor.controlPort }, password: undefined })
  await control.connect()
})
after(async () => {
  control?.[Symbol.dispose]()
  await tor?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

const dir = () => join(tor.dir, 'service')

/** The folder as an operator makes it; its front is `front`. */
function prepare(front = FRONT): void {
  rmSync(dir(), { recursive: true, force: true })
  mkdirSync(dir(), { mode: 0o750 })
  writeFileSync(join(dir(), 'ob_config'), `MasterOnionAddress ${front}\n`)
}

function start(args: readonly string[] = [], via = node): Promise<Tracker> {
  return Tracker.start(via, {
    http: true,
    nostr: true,
    args: [
      ...tor.flags,
      ...['--tor-cookie-file', tor.cookieFile, '--public-onion', FRONT],
      ...['--onion-hostname-file', join(dir(), 'hostname'), '--allow-test-addresses', ...args],
    ],
  })
}

/** The lines that Tor has of onion services. */
async function lines(): Promise<string[]> {
  return (await control.must('GETCONF HiddenServiceOptions')).lines.filter((line) => line.includes('='))
}

const isThere = async () => (await lines()).includes(`HiddenServiceDir=${dir()}`)
/** Waits for it; says how long that took. */
async function turns(what: 'there' | 'gone', timeoutMs = 60_000): Promise<number> {
  const from = performance.now()
  await waitUntil(`the service is ${what}`, async () => (await isThere()) === (what === 'there'), {
    timeoutMs,
    everyMs: 50,
  })
  return Math.round(performance.now() - from)
}

test('ready: Tor has the back end, and strangers are told the public address', async () => {
  prepare()
  await using tracker = await start()
  await turns('there')
  const own = await waitUntil('its own name', () => {
    try {
      return readFileSync(join(dir(), 'hostname'), 'utf8').trim()
    } catch {
      return undefined
    }
  })
  assert.deepEqual(await lines(), [
    `HiddenServiceDir=${dir()}`,
    'HiddenServiceVersion=3',
    `HiddenServicePort=${tracker.port} 127.0.0.1:${tracker.port}`,
    `HiddenServicePort=80 127.0.0.1:${tracker.nostrPort}`,
    'HiddenServiceDirGroupReadable=1',
    'HiddenServiceMaxStreams=16',
    'HiddenServiceMaxStreamsCloseCircuit=1',
    'HiddenServiceOnionBalanceInstance=1',
  ])
  const front = `${FRONT}:${tracker.port}`
  const pong = await tracker.ask({ type: 'Ping', address: '', port: 0 }, 'Pong')
  assert.equal(pong.address, front)
  const row = await waitUntil('the status tells of it', () => {
    const status = tracker.status()
    return status?.onion.state === 'publishing' ? status : undefined
  })
  assert.equal(row.address, front)
  assert.equal(row.onion.address, front)
  assert.match(row.onion.detail, new RegExp(own), 'and the operator its own name')
  assert.equal(row.nostr?.url, `ws://${FRONT}`)
  await tracker.stop()
  assert.deepEqual(await lines(), [], 'stopped: withdrawn before it ended')
  const { stdout } = await runVerb([
    'status',
    '--network',
    'regtest',
    '--datadir',
    tracker.dataDir,
    '--public-onion',
    FRONT,
    '--onion-hostname-file',
    join(dir(), 'hostname'),
  ])
  assert.match(stdout, new RegExp(FRONT))
})

test('killed: withdrawn at once by its guard; started again: back once ready', async (t) => {
  prepare()
  await using tracker = await start()
  for (const round of [1, 2, 3]) {
    await turns('there')
    await tracker.stop('SIGKILL')
    const ms = await turns('gone', 5_000)
    t.diagnostic(`killed, round ${round}: gone ${ms} ms after it`)
    if (round < 3) tracker.launch()
  }
})

test('frozen: withdrawn after ten seconds; thawed: back', async (t) => {
  prepare()
  await using tracker = await start()
  await turns('there')
  process.kill(tracker.pid, 'SIGSTOP')
  try {
    t.diagnostic(`frozen: gone after ${await turns('gone', 20_000)} ms`)
  } finally {
    process.kill(tracker.pid, 'SIGCONT')
  }
  t.diagnostic(`thawed: back after ${await turns('there')} ms`)
})

test('bitcoind away: withdrawn after a while, not at once; back with it', async (t) => {
  prepare()
  await using own = await Regtest.start({ blocks: 5 })
  await using tracker = await start([], own)
  await turns('there')
  await own.stop()
  const ms = await turns('gone')
  t.diagnostic(`bitcoind stopped: gone after ${ms} ms`)
  assert.ok(ms > 10_000, 'a restart of bitcoind alone would not have done it')
  const row = await waitUntil('the status tells of it', () => {
    const status = tracker.status()
    return status?.onion.state === 'withdrawn' ? status : undefined
  })
  assert.equal(row.ready, false)
  assert.equal(row.address, `${FRONT}:${tracker.port}`, 'its address is what it was')
  assert.equal((await tracker.ask({ type: 'Status' }, 'Status')).type, 'Status', 'who is connected is answered')
  await own.launch()
  t.diagnostic(`bitcoind back: back after ${await turns('there')} ms`)
})

test('Tor reads its torrc again, which ends the service: it is put back', async () => {
  prepare()
  await using tracker = await start()
  await turns('there')
  const changes: string[] = []
  await control.subscribe(['CONF_CHANGED'], (line) => changes.push(line))
  await control.must('SIGNAL RELOAD')
  await waitUntil('it has ended', () => changes.some((line) => !line.includes(dir())))
  await turns('there')
  assert.equal(await tracker.stop(), 0)
})

test('a Tor with somebody else’s service is left alone', async () => {
  prepare()
  const theirs = join(tor.dir, 'theirs')
  await control.must(`SETCONF HiddenServiceDir="${theirs}" HiddenServicePort="80 127.0.0.1:1"`)
  try {
    await using tracker = await start()
    const { detail } = await tracker.said('onion service down')
    assert.match(
      String(detail),
      /theirs in its torrc, which would end: a back end of Onionbalance needs a Tor of its own/,
    )
    assert.ok((await lines()).includes(`HiddenServiceDir=${theirs}`))
    await tracker.stop('SIGKILL')
    assert.ok((await lines()).includes(`HiddenServiceDir=${theirs}`))
  } finally {
    await control.must('RESETCONF HiddenServiceOptions')
  }
})

test('a folder without the public address, or with another: said, with what to type; right: goes on', async () => {
  prepare(onionHost('another'))
  await using tracker = await start()
  const { detail } = await tracker.said('onion service down')
  assert.match(
    String(detail),
    new RegExp(`ob_config names ${onionHost('another')}, and --public-onion is ${FRONT}.*MasterOnionAddress ${FRONT}`),
  )
  rmSync(join(dir(), 'ob_config'))
  await waitUntil('Tor refuses it', () =>
    tracker.log.find((line) => /513 .*print-torrc --onionbalance/.test(String(line.detail))),
  )
  writeFileSync(join(dir(), 'ob_config'), `MasterOnionAddress ${FRONT}\n`)
  await turns('there')
  await tracker.stop()
  // The front of its own name: nobody else would come.
  const own = readFileSync(join(dir(), 'hostname'), 'utf8').trim()
  writeFileSync(join(dir(), 'ob_config'), `MasterOnionAddress ${own}\n`)
  await using confused = await start(['--public-onion', own])
  assert.equal(await confused.exited(), 2)
  assert.match(confused.stderr, /is the name of this back end itself/)
  await turns('gone')
})

test('doctor on a back end: what is missing, wrong, or not to be there, each with what to type', async () => {
  prepare()
  using data = tempDir()
  const [free] = await freePorts(1)
  const file = join(dir(), 'hostname')
  const look = () =>
    doctor([
      ...nodeFlags(node),
      ...['--datadir', data.path, '--address', `127.0.0.1:${free}`, ...tor.flags, '--tor-cookie-file', tor.cookieFile],
      ...['--public-onion', FRONT, '--onion-hostname-file', file],
    ])
  const fresh = await look()
  assertFinding(fresh.of('tor-service'), 'warning', /no name yet/)
  assertFinding(fresh.of('tor-front'), 'ok', /names the public address/)
  assertFinding(fresh.of('tor-alone'), 'ok', /no other onion service, and this one is withdrawn/)
  assert.ok(
    !fresh.findings.some(({ check }) => check === 'tor-pow'),
    'nothing of a defence that such an address has not',
  )

  writeFileSync(file, `${onionHost('own')}\n`)
  writeFileSync(join(dir(), 'ob_config'), `MasterOnionAddress ${onionHost('another')}\n`)
  await control.must(`SETCONF HiddenServiceDir="${join(tor.dir, 'theirs')}" HiddenServicePort="80 127.0.0.1:1"`)
  const wrong = await look()
  assertFinding(wrong.of('tor-service'), 'ok', /back end .* no proof of work/)
  assert.match(
    assertFinding(wrong.of('tor-front'), 'failure', /names .*, and --public-onion is/),
    new RegExp(`^echo MasterOnionAddress ${FRONT} \\| sudo tee `),
  )
  assertFinding(wrong.of('tor-alone'), 'failure', /theirs in its torrc/)
  await control.must('RESETCONF HiddenServiceOptions')

  writeFileSync(file, `${FRONT}\n`)
  rmSync(join(dir(), 'ob_config'))
  const confused = await look()
  assertFinding(confused.of('tor-service'), 'failure', /is the name of this back end itself/)
  assertFinding(confused.of('tor-front'), 'failure', /is missing/)
})

/**
 * Another tracker with a copy of our onion.key: while it answers under our address, and when it has gone and strangers are
 * left with its descriptor. One private Tor network, with a Tor for each of the two and one for the stranger.
 */
import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import type { HostPort } from '../../src/tor/address.ts'
import { dial } from '../../src/tor/socks.ts'
import { ask } from '../../src/wire/client.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { notReady, published, ready, startOnionTracker } from '../support/onion-tracker.ts'
import { Stranger } from '../support/stranger.ts'
import { tempDir } from '../support/temp-dir.ts'

let node: Regtest
before(async () => {
  node = await Regtest.start()
})
after(async () => {
  await node?.[Symbol.asyncDispose]()
})

/** The longest test here. */
const TEST_S = 300
const ELSEWHERE = 'our onion key is published elsewhere'
const AGAIN = 'onion service is taken down and published again'

async function instanceOf(at: HostPort): Promise<Uint8Array> {
  const { signal } = new AbortController()
  const socket = await dial(at, { socks: undefined, timeoutMs: 10_000, signal })
  try {
    const reply = await ask(socket, { type: 'Status' }, { timeoutMs: 10_000 })
    assert.ok(reply.type === 'Status' && reply.instance)
    return reply.instance
  } finally {
    socket.destroy()
  }
}

/** A tracker that is reached, and somebody who reaches it. */
async function startOurs(tor: TorNetwork) {
  const tracker = await startOnionTracker(node, tor.clients[0]!)
  const address = await published(tracker)
  const own = await instanceOf({ host: '127.0.0.1', port: tracker.port })
  const stranger = await Stranger.at(tor.clients[2]!)
  assert.deepEqual((await stranger.reach(address)).instance, own)
  await ready(tracker)
  return { tracker, address, own, stranger }
}

/** Its data directory has a copy of our key; it listens on another address of this machine. */
async function startOther(tor: TorNetwork, ours: Tracker, dataDir: string, port: number): Promise<Tracker> {
  copyFileSync(join(ours.dataDir, 'onion.key'), join(dataDir, 'onion.key'))
  const other = await startOnionTracker(node, tor.clients[1]!, {
    dataDir,
    args: ['--address', `127.0.0.2:${port}`],
  })
  await published(other)
  return other
}

test('while another tracker answers under our address it is told; when it has stopped, ours is reached again', async () => {
  await using tor = await TorNetwork.start({ clients: 3 })
  const { tracker: ours, address, own, stranger } = await startOurs(tor)
  await using _ours = ours
  using _stranger = stranger
  using dir = tempDir()
  await using other = await startOther(tor, ours, dir.path, ours.port)
  const others = await instanceOf({ host: '127.0.0.2', port: ours.port })
  const isOther = async () => isDeepStrictEqual((await stranger.reach(address)).instance, others)
  await waitUntil('a stranger reaches the other one', isOther, { timeoutMs: 60_000 })

  const told = await waitUntil('it is told', () => ours.logged(ELSEWHERE), { timeoutMs: 60_000 })
  assert.equal(told.level, 50)
  assert.match(String(told.detail), /another process .* has a copy of onion\.key.* Stop the other one/)
  await notReady(ours, /another process answers under our onion address/)

  const before = ours.log.length
  await other.stop('SIGTERM')
  await waitUntil('it is published again', () => ours.log.slice(before).some(({ msg }) => msg === AGAIN), {
    timeoutMs: 120_000,
  })
  await stranger.forget()
  assert.deepEqual((await stranger.reach(address)).instance, own)
  await ready(ours)
  const errors = ours.log.filter(({ level }) => level >= 50).map(({ msg }) => msg)
  assert.ok(errors.length >= 1 && errors.length <= 2 && errors.every((msg) => msg === ELSEWHERE), `${errors}`)
})

/**
 * Of a network whose directories are now between the start of a time period and the next shared random value, or between
 * that and the next period: each lasts twelve voting intervals, counted from 1970 on (rend-spec-v3, time periods). The
 * network's only consensus is the one of its start, so that it stays there.
 */
function votingIntervalS(isNewPeriod: boolean): number {
  const nowS = Date.now() / 1_000
  for (let intervalS = 1_800; ; intervalS += 60) {
    const halfS = 12 * intervalS
    const isNew = Math.floor(nowS / halfS) % 2 === 1
    if (isNew === isNewPeriod && halfS - (nowS % halfS) > TEST_S) return intervalS
  }
}

for (const isNewPeriod of [false, true]) {
  const when = isNewPeriod ? 'after' : 'before'
  test(`another tracker with our key and another port is killed, ${when} the turn of the time period: ours is reached again`, async () => {
    await using tor = await TorNetwork.start({ clients: 3, votingIntervalS: votingIntervalS(isNewPeriod) })
    const { tracker: ours, address, own, stranger } = await startOurs(tor)
    await using _ours = ours
    using _stranger = stranger
    using dir = tempDir()
    const [port] = await freePorts(1)
    await using other = await startOther(tor, ours, dir.path, port!)
    const told = await waitUntil('it is told', () => ours.logged(ELSEWHERE), { timeoutMs: 60_000 })
    assert.match(String(told.detail), /copy of onion\.key/)

    await other.stop('SIGKILL')
    await stranger.forget()
    assert.deepEqual((await stranger.reach(address, { timeoutMs: 180_000 })).instance, own)
    await ready(ours)
  })
}

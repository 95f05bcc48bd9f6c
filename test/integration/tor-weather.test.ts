/**
 * What happens to Tor, and between it and us, on a private network with real Tor processes: each time one sentence says
 * what is wrong and what to type, the daemon is not ready, and is again by itself when it is over. One network for all.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { soakTorKills } from '../../scripts/soak/tor-kills.ts'
import { Secret } from '../../src/secret.ts'
import { formatHostPort, type HostPort } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { type TorClient, TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, type Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { doctor, nodeFlags } from '../support/doctor.ts'
import { ask } from '../support/http.ts'
import { notReady, published, ready, startOnionTracker } from '../support/onion-tracker.ts'
import { Stranger } from '../support/stranger.ts'
import { TcpLine } from '../support/tcp-line.ts'

const KILLS = 3

let tor: TorNetwork
let node: Regtest
let stranger: Stranger
before(async () => {
  tor = await TorNetwork.start({ clients: 3 })
  node = await Regtest.start()
  stranger = await Stranger.at(tor.clients[1]!)
})
after(async () => {
  stranger?.[Symbol.dispose]()
  await tor?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

/** Ready, and reached by a stranger, at the same address as ever. */
async function isWell(tracker: Tracker, address: HostPort): Promise<void> {
  await ready(tracker)
  await stranger.reach(address)
  assert.ok(tracker.isRunning)
  assert.equal((await ask(tracker.httpPort!, '/api/v1/status')).json.address, formatHostPort(address))
}

/** The same sentence is in /health/ready, in what `status` says, and in the log. */
async function isTold(tracker: Tracker, since: number, sentence: RegExp): Promise<void> {
  await notReady(tracker, sentence)
  await waitUntil('the verb says it', async () =>
    sentence.test((await runVerb(['status', '--network', 'regtest', '--datadir', tracker.dataDir])).stdout),
  )
  const warned = tracker.log.slice(since).filter(({ level }) => level === 40)
  assert.ok(
    warned.some(({ detail }) => sentence.test(String(detail))),
    JSON.stringify(warned),
  )
}

test('the control connection is cut, and asks for a cookie that is no more: told, and healed', async () => {
  const { control, socks, cookieFile } = tor.clients[0]!
  await using line = await TcpLine.before(control)
  await using tracker = await startOnionTracker(node, { control: line.address, socks })
  const address = await published(tracker)
  await isWell(tracker, address)

  let since = tracker.log.length
  line.hangUp()
  await isTold(tracker, since, /--control-port\) closed the connection/)
  line.calm()
  assert.deepEqual(await published(tracker, since), address)
  await isWell(tracker, address)

  since = tracker.log.length
  writeFileSync(cookieFile, Buffer.alloc(32, 7))
  line.hangUp()
  await tracker.said('onion service down', since)
  line.calm()
  await isTold(tracker, since, /cookie.*sudo systemctl restart tor/)
  await tor.kill(0)
  tor.restart(0)
  assert.deepEqual(await published(tracker, since), address)
  await isWell(tracker, address)
})

test('nothing comes over the control connection, or from any directory: told by the tracker that it concerns, and healed', async () => {
  const { control, socks } = tor.clients[0]!
  await using line = await TcpLine.before(control)
  await using stalled = await startOnionTracker(node, { control: line.address, socks })
  await using unfound = await startOnionTracker(node, { control, socks })
  const addresses = [await published(stalled), await published(unfound)] as const
  await Promise.all([ready(stalled), ready(unfound)])
  const since = [stalled.log.length, unfound.log.length] as const
  {
    using _frozen = tor.freeze('relays')
    line.stall()
    await Promise.all([
      isTold(stalled, since[0], /--control-port\): no answer to .*sudo systemctl restart tor/),
      isTold(unfound, since[1], /our own onion service (is not found|does not answer)/),
    ])
    line.calm()
  }
  await isWell(stalled, addresses[0])
  await isWell(unfound, addresses[1])
})

describe('of two Tors', { concurrency: true }, () => {
  test('one stands still: told, by doctor as well, and healed; then it is killed again and again, and reached each time', async () => {
    const { control, socks } = tor.clients[0]!
    await using tracker = await startOnionTracker(node, { control, socks })
    const address = await published(tracker)
    await isWell(tracker, address)
    const since = tracker.log.length
    {
      using _frozen = tor.freeze(0)
      await isTold(tracker, since, /--control-port\): no answer to .*sudo systemctl restart tor/)
      const { of } = await doctor([
        ...nodeFlags(node),
        ...['--datadir', tracker.dataDir],
        ...['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)],
      ])
      assert.equal(of('tor-control').fix, 'sudo systemctl restart tor')
    }
    await isWell(tracker, address)

    const { returns, losses } = await soakTorKills({ tor, tracker, stranger }, KILLS)
    assert.deepEqual(losses, [])
    assert.ok(returns.length > 0)
  })

  test('one has a wrong clock: told, and reached; set right, its directories refuse it until that time has come', async () => {
    await tor.kill(2)
    tor.restart(2, { clockOffsetS: 3_600 })
    {
      await using tracker = await startOnionTracker(node, tor.clients[2]!)
      await isWell(tracker, await published(tracker))
      const sentence = /clock is 60 minutes ahead: sudo timedatectl/
      assert.match(String((await tracker.said('the clock is wrong')).detail), sentence)
      assert.match((await ask(tracker.httpPort!, '/api/v1/status')).json.onion.detail, sentence)
    }

    await tor.kill(2)
    tor.restart(2, { clockOffsetS: 45 })
    using directories = await Directories.of(tor.clients[2]!)
    await using tracker = await startOnionTracker(node, tor.clients[2]!)
    const address = await published(tracker)
    await isWell(tracker, address)
    await waitUntil('every directory has the descriptor', () => directories.haveAll)
    const since = tracker.log.length
    await tor.kill(2)
    tor.restart(2)
    await isTold(tracker, since, /directories \(HSDirs\) refuse our descriptor.*timedatectl/)
    assert.deepEqual(await published(tracker, since), address)
    await isWell(tracker, address)
  })
})

/** What a Tor tells of the directories to which it gives the only service that it has. */
class Directories implements Disposable {
  readonly #control: TorControl
  #asked = 0
  #answered = 0

  private constructor(control: TorControl) {
    this.#control = control
  }

  static async of({ control, password }: TorClient): Promise<Directories> {
    const line = await waitUntil('Tor answers', async () => {
      const line = new TorControl({ control, password: new Secret(password) })
      return await line.connect().then(
        () => line,
        () => false as const,
      )
    })
    const directories = new Directories(line)
    await line.subscribe(['HS_DESC'], (event) => {
      if (event.startsWith('HS_DESC UPLOAD ')) directories.#asked++
      if (event.startsWith('HS_DESC UPLOADED ')) directories.#answered++
    })
    return directories
  }

  get haveAll(): boolean {
    return this.#asked > 0 && this.#answered === this.#asked
  }

  [Symbol.dispose](): void {
    this.#control[Symbol.dispose]()
  }
}

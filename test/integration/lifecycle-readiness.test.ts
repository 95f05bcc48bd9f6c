/**
 * Readiness is told once: bitcoind and Tor are lost and come back, and at every step HTTP's health and status, the status
 * and health verbs, the service manager's line, the metrics and the webhook say the same. Between the steps health and
 * status are asked again and again, and may never contradict each other.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { summaryOf } from '../../src/views/status.ts'
import { NotifySocket } from '../sandbox/notify-socket.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { ask } from '../support/http.ts'
import { Receiver, SECRET } from '../support/webhook-receiver.ts'

/** Asks status, health, status, again and again: where nothing changed in between, they must agree. */
class Contradictions implements AsyncDisposable {
  readonly found: string[] = []
  asked = 0
  #isOver = false
  readonly #running: Promise<void>

  constructor(port: number) {
    this.#running = this.#run(port)
  }

  async #run(port: number): Promise<void> {
    while (!this.#isOver) {
      const before = (await ask(port, '/api/v1/status')).json
      const health = await ask(port, '/health/ready')
      const after = (await ask(port, '/api/v1/status')).json
      if (JSON.stringify(before.checks) !== JSON.stringify(after.checks)) continue
      this.asked++
      const isHealthy = health.status === 200 && health.json.status === 'ok'
      const isSame = JSON.stringify(health.json.checks) === JSON.stringify(before.checks)
      if (isHealthy !== before.ready || !isSame) this.found.push(`${health.text} beside ${JSON.stringify(before)}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await this.#running
  }
}

test('bitcoind and Tor go and come back: every place says the same at every step', async () => {
  await using tor = await TorNetwork.start({ clients: 1 })
  await using node = await Regtest.start({ blocks: 20 })
  await using manager = await NotifySocket.open()
  await using receiver = await Receiver.start()
  const { control, socks, password } = tor.clients[0]!
  await using tracker = await Tracker.start(node, {
    http: true,
    args: [
      ...['--control-port', `${control.host}:${control.port}`, '--socks-port', `${socks.host}:${socks.port}`],
      ...['--probe-interval', '10', '--webhook-url', receiver.url],
    ],
    env: {
      NOTIFY_SOCKET: manager.path,
      FIDELITY_TRACKER_WEBHOOK_SECRET: SECRET,
      FIDELITY_TRACKER_TOR_AUTH_PASSWORD: password,
    },
  })
  await tracker.said('listening')
  const flags = ['--network', 'regtest', '--datadir', tracker.dataDir]

  /** What each place says, in its own way. */
  const places = async () => {
    const status = (await ask(tracker.httpPort!, '/api/v1/status')).json
    const health = await ask(tracker.httpPort!, '/health/ready')
    const metrics = (await ask(tracker.httpPort!, '/metrics')).text
    const verb = JSON.parse((await runVerb(['status', '--json', ...flags])).stdout)
    const healthVerb = await runVerb(['health', ...flags])
    const manual = manager.said.findLast((said) => said.startsWith('STATUS='))
    const webhook = receiver.events().findLast((event) => event === 'ready' || event === 'not_ready')
    return {
      ready: {
        status: status.ready,
        health: health.status === 200,
        verb: verb.ready,
        'health verb': healthVerb.code === 0,
        metrics: /^fidelity_tracker_ready 1$/m.test(metrics),
        'service manager': manual?.startsWith('STATUS=ready') === true,
        webhook: webhook === 'ready',
      },
      reasons: {
        status: summaryOf(status),
        verb: summaryOf(verb),
        'health verb': healthVerb.stdout.trim(),
        'service manager': manual?.replace(/^STATUS=/, ''),
      },
      failing: Object.entries(status.checks as Record<string, { ok: boolean }>).flatMap(([name, { ok }]) =>
        ok ? [] : [name],
      ),
    }
  }
  /** Waits until all places say so; the last thing they said else. */
  const allSay = async (what: string, failing: readonly string[]) => {
    let seen: Awaited<ReturnType<typeof places>> | undefined
    await waitUntil(
      what,
      async () => {
        seen = await places()
        const isReady = Object.values(seen.ready).every((ready) => ready === (failing.length === 0))
        return isReady && new Set(Object.values(seen.reasons)).size === 1 && `${seen.failing}` === `${failing}`
      },
      { timeoutMs: 120_000, everyMs: 250 },
    ).catch((error: unknown) => assert.fail(`${error}: ${JSON.stringify(seen, undefined, 1)}`))
  }

  await allSay('ready', [])
  await using contradictions = new Contradictions(tracker.httpPort!)
  await node.stop()
  await allSay('without bitcoind', ['bitcoind'])
  await node.launch()
  await allSay('bitcoind is back', [])
  await tor.kill(0)
  await allSay('without Tor', ['tor', 'onion'])
  await node.kill()
  await allSay('without either', ['bitcoind', 'tor', 'onion'])
  tor.restart(0)
  await allSay('Tor is back', ['bitcoind'])
  await node.launch()
  await allSay('all is well', [])
  assert.deepEqual(contradictions.found, [])
  assert.ok(contradictions.asked > 100, `${contradictions.asked} looks`)
  // A circuit that Tor loses may make the canary red for a moment more; but each change is told, and in its order.
  const events = receiver.events()
  assert.ok(events.length >= 5 && events.length % 2 === 1, `${events}`)
  assert.ok(
    events.every((event, i) => event === (i % 2 === 0 ? 'ready' : 'not_ready')),
    `${events}`,
  )
})

test('a bitcoind that stands still is lost until it answers again, however often it is tried', async () => {
  await using node = await Regtest.start({ blocks: 20 })
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  await using contradictions = new Contradictions(tracker.httpPort!)
  const bitcoind = async () => (await ask(tracker.httpPort!, '/api/v1/status')).json.bitcoind.state
  process.kill(node.pid, 'SIGSTOP')
  try {
    await waitUntil('it is missed', async () => (await bitcoind()) !== 'following', { timeoutMs: 90_000 })
    // An attempt takes half a minute to fail: through the next one it stays lost.
    const states = new Set<string>()
    const untilMs = performance.now() + 3_000
    await waitUntil('for a while', async () => {
      states.add(await bitcoind())
      return performance.now() > untilMs
    })
    assert.deepEqual([...states], ['unreachable'])
  } finally {
    process.kill(node.pid, 'SIGCONT')
  }
  await waitUntil('it is back', async () => (await bitcoind()) === 'following', { timeoutMs: 90_000 })
  assert.deepEqual(contradictions.found, [])
})

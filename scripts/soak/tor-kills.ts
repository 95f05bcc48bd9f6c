/**
 * tor-kills [COUNT]: Tor killed -9 under a published service, at any moment, also while it is publishing, and started
 * again at once or after a while. Each time the same address is back, and a stranger is answered there.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { TorControl } from '../../src/tor/control.ts'
import type { TorNetwork } from '../../test/sandbox/tor-network.ts'
import type { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { published } from '../../test/support/onion-tracker.ts'
import type { Stranger } from '../../test/support/stranger.ts'

const LIMITS = {
  /** A Tor's life, from the stranger's answer to the kill. */
  lifeMsMax: 3_000,
  /** Every third Tor is killed so soon after its control port answers: before, while or just after it publishes. */
  publishingMsMax: 2_500,
  /** Every other one stays away for so long at most. */
  awayMsMax: 5_000,
  /** From the answer of its control port to the stranger's. */
  reachedMsMax: 30_000,
}

/** Of one Tor that was started and left alone until the service was reached. */
export interface Return {
  after: 'a kill at rest' | 'a kill while it publishes'
  started: 'at once' | 'after a while'
  /** From the answer of its control port. */
  publishedMs: number
  reachedMs: number
}

export interface TorKillsOutcome {
  kills: number
  returns: Return[]
  /** What did not come back as it should, in words; empty is what is wanted. */
  losses: string[]
}

/** What there is already: a tracker whose service is published by client 0's Tor, and a stranger at another's. */
export interface TorPlace {
  tor: TorNetwork
  tracker: Tracker
  stranger: Stranger
}

export async function soakTorKills(
  { tor, tracker, stranger }: TorPlace,
  kills: number,
  onKill: (n: number) => void = () => {},
): Promise<TorKillsOutcome> {
  const address = await published(tracker)
  await stranger.reach(address)
  const returns: Return[] = []
  const losses: string[] = []
  let after: Return['after'] = 'a kill at rest'
  for (let n = 1; n <= kills; n++) {
    if (after === 'a kill at rest') {
      await pause(Math.random() * LIMITS.lifeMsMax)
      await stranger.forget()
    }
    await tor.kill(0)
    const logged = tracker.log.length
    const started = n % 2 === 0 ? 'after a while' : 'at once'
    if (started === 'after a while') await pause(Math.random() * LIMITS.awayMsMax)
    tor.restart(0)
    await controlAnswers(tor)
    onKill(n)
    if (n % 3 === 1 && n < kills) {
      after = 'a kill while it publishes'
      await pause(Math.random() * LIMITS.publishingMsMax)
      continue
    }
    const upMs = performance.now()
    const [publishedMs, reachedMs] = await Promise.all([
      published(tracker, logged).then((again) => {
        if (again.host !== address.host) losses.push(`after kill ${n}: another address, ${again.host}`)
        return performance.now() - upMs
      }),
      stranger.reach(address).then(() => performance.now() - upMs),
    ])
    returns.push({ after, started, publishedMs, reachedMs })
    if (reachedMs > LIMITS.reachedMsMax) losses.push(`after kill ${n}: reached only after ${reachedMs.toFixed(0)} ms`)
    after = 'a kill at rest'
  }
  if (!tracker.isRunning) losses.push(`the daemon has ended: ${tracker.stderr}`)
  const errors = tracker.log.filter(({ level }) => level >= 50)
  losses.push(...errors.map((line) => `the log has an error: ${JSON.stringify(line).slice(0, 400)}`))
  return { kills, returns, losses }
}

async function controlAnswers(tor: TorNetwork): Promise<void> {
  const { control } = tor.clients[0]!
  const answers = async () => {
    using line = new TorControl({ control, password: undefined })
    return await line.connect().then(
      () => true,
      () => false,
    )
  }
  await waitUntil('Tor’s control port answers', answers, { everyMs: 20 }).catch((error: unknown) => {
    throw new Error(`${error}; its log: ${tor.notices(0)}`)
  })
}

/**
 * npm run soak -- [--minutes N]: a daemon's life with everything that strangers, bitcoind and Tor do to it, and whether it
 * grows. npm run soak -- kills [COUNT]: kill -9 under load, and whether anything is lost. npm run soak -- tor-kills [COUNT]:
 * kill -9 of Tor, and whether the onion service is reached again in time. npm run soak -- shared [ROUNDS]: kill -9 of one of
 * three trackers with one PostgreSQL, and whether the others have what it promised. npm run soak -- lease [ROUNDS]: an address
 * that three trackers share, and whether another has it soon when its holder fails, and never two. Exit code 1 when not so.
 */
import { parseArgs } from 'node:util'
import { formatHostPort } from '../../src/tor/address.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'
import { TorNetwork } from '../../test/sandbox/tor-network.ts'
import { Tracker } from '../../test/sandbox/tracker.ts'
import { Stranger } from '../../test/support/stranger.ts'
import { quantile, report } from '../bench/report.ts'
import type { Held } from './held.ts'
import { soakKills } from './kills.ts'
import { soakLease } from './lease.ts'
import { liveThrough, ROUNDS, type Round } from './life.ts'
import { soakShared } from './shared.ts'
import { type Return, soakTorKills } from './tor-kills.ts'

const ROUND_MS = 8_000
/** Between the first and the last quarter of all rounds. */
const RSS_GROWTH_MAX = 1.1
/** A probe, a look at another tracker: what was on its way at each single look. */
const HANDLES_MORE_MAX = 4

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: 'string', default: '60' } },
})
const [which, count] = positionals
const faults = await run(which)
for (const fault of faults) process.stdout.write(`  ${fault}\n`)
process.stdout.write(faults.length === 0 ? 'holds\n' : 'FAILS\n')
if (faults.length > 0) process.exitCode = 1

async function run(which: string | undefined): Promise<string[]> {
  switch (which) {
    case undefined:
      return await life(60_000 * Number(values.minutes))
    case 'kills':
      return await kills(Number(count ?? 200))
    case 'tor-kills':
      return await torKills(Number(count ?? 100))
    case 'shared':
      return await shared(Number(count ?? 200))
    case 'lease':
      return await lease(Number(count ?? 50))
    default:
      throw new Error(
        'usage: soak [--minutes N] | kills [COUNT] | tor-kills [COUNT] | shared [ROUNDS] | lease [ROUNDS]',
      )
  }
}

async function kills(wanted: number): Promise<string[]> {
  const startMs = performance.now()
  const { losses, ...done } = await soakKills(wanted, (n) => {
    if (n % 10 === 0) process.stderr.write(`${n} kills\n`)
  })
  const told = Object.entries(done).map(([what, n]) => `${n} ${what}`)
  process.stdout.write(`${told.join(', ')}, in ${((performance.now() - startMs) / 1000).toFixed(0)} s\n`)
  return losses
}

async function torKills(wanted: number): Promise<string[]> {
  await using tor = await TorNetwork.start()
  await using node = await Regtest.start()
  const { control, socks } = tor.clients[0]!
  const ports = ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)]
  await using tracker = await Tracker.start(node, { args: ['--allow-test-addresses', ...ports] })
  using stranger = await Stranger.at(tor.clients[1]!)
  const { returns, losses } = await soakTorKills({ tor, tracker, stranger }, wanted, (n) => {
    if (n % 10 === 0) process.stderr.write(`${n} kills\n`)
  })
  const row = (name: string, some: readonly Return[]) => {
    const at = (of: 'publishedMs' | 'reachedMs', q: number) =>
      some.length === 0
        ? '-'
        : quantile(
            some.map((one) => one[of] / 1000),
            q,
          )
    return [name, String(some.length), ...[0.5, 0.9, 1].flatMap((q) => [at('publishedMs', q), at('reachedMs', q)])]
  }
  report(`tor-kills: ${wanted} kills; seconds from the answer of Tor's control port to published, and to reached`, [
    ['', 'times', 'p50', 'reached', 'p90', 'reached', 'max', 'reached'],
    row('all', returns),
    ...(['a kill at rest', 'a kill while it publishes'] as const).map((kind) =>
      row(
        kind,
        returns.filter(({ after }) => after === kind),
      ),
    ),
    ...(['at once', 'after a while'] as const).map((kind) =>
      row(
        `started ${kind}`,
        returns.filter(({ started }) => started === kind),
      ),
    ),
  ])
  return losses
}

async function shared(rounds: number): Promise<string[]> {
  const startMs = performance.now()
  await using end = new AsyncDisposableStack()
  const ending = { after: (ended: () => Promise<void>) => end.defer(ended) }
  const { registered, unanswered, knownMs, toldMs, backMs, losses } = await soakShared(ending, rounds, (n) => {
    if (n % 10 === 0) process.stderr.write(`${n} rounds\n`)
  })
  process.stdout.write(
    `${rounds} kills, ${registered} registered, ${unanswered} unanswered, in ${((performance.now() - startMs) / 1000).toFixed(0)} s\n`,
  )
  const row = (what: string, some: readonly number[]) => [
    what,
    ...[0.5, 0.99, 1].map((q) => (some.length === 0 ? '-' : quantile(some, q))),
  ]
  report('milliseconds', [
    ['', 'p50', 'p99', 'max'],
    row('a kill to known by the others', knownMs),
    row('a spend to told by another', toldMs),
    row('a launch to serving again', backMs),
  ])
  return losses
}

async function lease(wanted: number): Promise<string[]> {
  const { rounds, looks, doubles, losses } = await soakLease(wanted, ({ what, ...took }, n) => {
    const told = Object.entries(took).map(([part, ms]) => `${part} ${ms.toFixed(0)}`)
    process.stderr.write(`${n} ${what}: ${told.join(', ')}\n`)
  })
  const kinds = [...new Set(rounds.map(({ what }) => what))]
  report(`lease: ${rounds.length} rounds; seconds after it befell the holder`, [
    ['the holder is', 'times', 'withdrawn', 'max', 'published', 'max', 'stranger', 'max', 'client told', 'max'],
    ...kinds.map((kind) => {
      const some = rounds.filter(({ what }) => what === kind)
      const at = (of: 'withdrawnMs' | 'publishedMs' | 'servedMs' | 'toldMs') =>
        [0.5, 1].map((q) =>
          quantile(
            some.map((round) => round[of] / 1000),
            q,
          ),
        )
      return [kind, String(some.length), ...at('withdrawnMs'), ...at('publishedMs'), ...at('servedMs'), ...at('toldMs')]
    }),
  ])
  process.stdout.write(`${looks} looks at the control ports, ${doubles} found two\n`)
  return losses
}

async function life(forMs: number): Promise<string[]> {
  const endMs = performance.now() + forMs
  let lap: string[] = []
  const next = (done: number) => {
    // Each lap has them all, in an order of its own; the time is over when a lap is, or after one of them.
    if (performance.now() > endMs && done >= ROUNDS.length) return undefined
    if (lap.length === 0) lap = ROUNDS.toSorted(() => Math.random() - 0.5)
    return lap.pop()
  }
  const onRound = ({ name, held, losses }: Round) => {
    const lost = losses.length === 0 ? '' : `  LOST ${losses.join('; ')}`
    process.stderr.write(`${name.padEnd(10)} ${held.rssMb.toFixed(0)} MB, ${held.handles} handles${lost}\n`)
  }
  const { rounds, losses } = await liveThrough({ next, roundMs: ROUND_MS, withTor: true, onRound })
  report(`soak: ${rounds.length} rounds of ${ROUND_MS / 1000} s`, [
    ['round', 'times', 'requests', 'p50 ms', 'p99', 'max', 'lost'],
    ...ROUNDS.flatMap((name) => rowOf(name, rounds)),
  ])
  const quarter = Math.max(1, Math.floor(rounds.length / 4))
  const [early, late] = [rounds.slice(0, quarter), rounds.slice(-quarter)]
  const median = (of: keyof Held, some: readonly Round[]) =>
    quantile(
      some.map(({ held }) => held[of]),
      0.5,
    )
  const kinds: (keyof Held)[] = ['rssMb', 'heapMb', 'handles', 'resources', 'files']
  report('at rest, medians', [
    ['', ...kinds],
    ['first quarter', ...kinds.map((of) => median(of, early))],
    ['last quarter', ...kinds.map((of) => median(of, late))],
    ['least', ...kinds.map((of) => Math.min(...rounds.map(({ held }) => held[of])))],
    ['most', ...kinds.map((of) => Math.max(...rounds.map(({ held }) => held[of])))],
  ])
  const growth = median('rssMb', late) / median('rssMb', early)
  const more = (['handles', 'resources', 'files'] as const).filter(
    (of) => median(of, late) - median(of, early) > HANDLES_MORE_MAX,
  )
  return [
    ...losses,
    ...(growth > RSS_GROWTH_MAX
      ? [`memory grows: ${((growth - 1) * 100).toFixed(0)} % from first to last quarter`]
      : []),
    ...more.map((of) => `${of} grow: ${median(of, early)} in the first quarter, ${median(of, late)} in the last`),
  ]
}

function rowOf(name: string, rounds: readonly Round[]): (string | number)[][] {
  const some = rounds.filter((round) => round.name === name)
  const times = some.flatMap(({ figures }) => [...figures.asked.values()].flat())
  if (times.length === 0) return []
  const lost = some.flatMap(({ figures }) => [...figures.losses.values()]).reduce((sum, n) => sum + n, 0)
  const at = (q: number) => quantile(times, q)
  return [[name, String(some.length), String(times.length), at(0.5), at(0.99), at(1), String(lost)]]
}

/** What came of an attack, as a row and in words. */
import { quantile } from '../report.ts'
import type { Attack } from './attack.ts'
import type { Cost } from './cost.ts'
import type { Figures } from './honest.ts'

/** What an honest client may be made to wait, at the 99th percentile, on loopback: docs/limits.md. */
export const P99_MS_MAX = 50

export interface Measured {
  value: Figures
  cost: Cost
}

export interface Outcome {
  attack: Attack
  /** The honest client alone, and beside the attack. */
  alone: Measured
  beside: Measured
  /** What the attackers counted. */
  tally: Readonly<Record<string, number>>
  /** What honest clients have lost, and what else the attack was not to do. */
  faults: readonly string[]
}

export const TITLES = [
  ...['attack', 'n', 'p50 ms', 'p99', 'max', 'alone p99', 'push p50', 'push max', 'lost'],
  ...['RSS MB', 'CPU %', 'loop p99', 'verdict'],
]

/** Slower than this many times what it was alone is the attack's doing, however busy the machine is. */
const TIMES_ALONE_MAX = 3

/** `unsure`: the honest client was about as slow without the attack, so others are at work on this machine. */
export type Verdict = 'holds' | 'unsure' | 'fails'

export function verdictOf({ alone, beside, faults }: Outcome): Verdict {
  if (faults.length > 0) return 'fails'
  const [aloneMs, besideMs] = [p99(alone.value), p99(beside.value)]
  if (besideMs <= P99_MS_MAX) return 'holds'
  return aloneMs > P99_MS_MAX && besideMs < TIMES_ALONE_MAX * aloneMs ? 'unsure' : 'fails'
}

const VERDICTS: Record<Verdict, string> = { holds: 'holds', unsure: 'unsure', fails: 'FAILS' }

export function row(outcome: Outcome): (string | number)[] {
  const { attack, alone, beside } = outcome
  const times = allTimes(beside.value)
  const { cost, value } = beside
  return [
    String(attack.number),
    String(times.length),
    ...[quantile(times, 0.5), p99(value), quantile(times, 1), p99(alone.value)],
    ...(value.pushMs.length > 0 ? [quantile(value.pushMs, 0.5), quantile(value.pushMs, 1)] : ['-', '-']),
    String(lost(value)),
    `${alone.cost.rssMb.max.toFixed(0)}→${cost.rssMb.max.toFixed(0)}`,
    `${alone.cost.cpuPercent.toFixed(0)}→${cost.cpuPercent.toFixed(0)}`,
    cost.loopMs?.p99 ?? '-',
    VERDICTS[verdictOf(outcome)],
  ]
}

/** What the row has no room for. */
export function told({ beside, alone, tally, faults }: Outcome): string[] {
  const kinds = [...beside.value.asked].map(([kind, times]) => `${kind} ${quantile(times, 0.99).toFixed(0)}`).sort()
  const counts = Object.entries(tally).map(([what, n]) => `${n} ${what}`)
  const aloneLost = lossesOf(alone.value).map((loss) => `alone, without any attack: ${loss}`)
  return [...faults, ...aloneLost, `p99 ms: ${kinds.join(' · ')}`, `the attackers: ${counts.join(', ')}`]
}

/** What the honest client has lost, in words. */
export function lossesOf(figures: Figures): string[] {
  return [...figures.losses].map(([what, n]) => `${n} × ${what}`)
}

function p99(figures: Figures): number {
  return quantile(allTimes(figures), 0.99)
}

function allTimes(figures: Figures): number[] {
  return [...figures.asked.values()].flat()
}

function lost(figures: Figures): number {
  return [...figures.losses.values()].reduce((sum, n) => sum + n, 0)
}

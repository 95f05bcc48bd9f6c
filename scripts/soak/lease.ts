/**
 * lease [ROUNDS]: the address that three trackers share, whose holder meets one trouble after another. Each time another
 * publishes, a stranger is served, and a client that had registered at the old holder is told by the new one; never are
 * there two publications at once.
 */
import { makeCoins } from '../../test/support/coins.ts'
import { SharedAddress, type TakeOver, TROUBLES } from '../../test/support/shared-address.ts'

const LIMITS = {
  /** Contract, §7: until another has published. */
  publishedMs: 5_000,
  /** Until a stranger is served. */
  servedMs: 10_000,
}

export interface LeaseRound extends Omit<TakeOver, 'holder'> {
  what: string
}

export interface LeaseOutcome {
  rounds: LeaseRound[]
  /** Looks at all control ports, and how many of them found the address at two Tors. */
  looks: number
  doubles: number
  /** What did not go as it should, in words; empty is what is wanted. */
  losses: string[]
}

export async function soakLease(
  wanted: number,
  onRound: (round: LeaseRound, n: number) => void,
): Promise<LeaseOutcome> {
  await using shared = await SharedAddress.start()
  const coins = await makeCoins(shared.node, wanted)
  const { publications, members } = shared
  const rounds: LeaseRound[] = []
  const losses: string[] = []
  for (let n = 1; n <= wanted; n++) {
    const trouble = TROUBLES[(n - 1) % TROUBLES.length]!
    const { what } = trouble
    const { holder, ...took } = await shared.takeOver(trouble, coins.pop()!)
    const [next] = publications.listed
    const round = { what, ...took }
    rounds.push(round)
    onRound(round, n)
    for (const part of ['publishedMs', 'servedMs'] as const) {
      if (took[part] > LIMITS[part]) losses.push(`round ${n}, ${what}: ${part} ${took[part].toFixed(0)}`)
    }
    const now = await shared.recover(trouble, holder)
    if (now.index !== next) losses.push(`round ${n}, ${what}: the address went on to tracker ${now.index}`)
    if (n % 10 === 0) await shared.node.mine(1)
  }
  const doubles = publications.doubles.length
  if (doubles > 0)
    losses.push(`${doubles} looks found the address at two Tors: ${JSON.stringify(publications.doubles)}`)
  for (const { tracker } of members) {
    const errors = tracker.log.filter(({ level }) => level >= 50)
    losses.push(...errors.map((line) => `the log has an error: ${JSON.stringify(line).slice(0, 400)}`))
  }
  return { rounds, looks: publications.looks, doubles, losses }
}

/** What an attack is: a part in a process of its own, and what the bench itself does before and meanwhile. */

import type { Regtest } from '../../../test/sandbox/regtest.ts'
import type { TorClient } from '../../../test/sandbox/tor-network.ts'
import type { Tracker } from '../../../test/sandbox/tracker.ts'

/** The chain and the daemon that are attacked, as the bench has them. */
export interface Stage {
  node: Regtest
  tracker: Tracker
  /** With Tor: the clients of its network, the daemon's own first. */
  tor: readonly TorClient[]
  /** What `prepare` gave. */
  data: unknown
}

/** What the attackers' process is told. */
export interface Target {
  port: number
  httpPort: number
  nostrPort: number
  /** What `prepare` gave, through JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: each attack has its own
  data: any
}

export interface Attack {
  /** As in the list of attacks that must not matter; what is beyond it comes after the last of them. */
  number: number
  what: string
  /** Flags of the daemon that the attack needs to be over in a bench's time. */
  flags?: readonly string[]
  /** Over a private Tor network. */
  needsTor?: true
  /** We are behind for a moment, as the contract allows: whoever is told so comes again, and the time counts. */
  isReorg?: true
  /** In the bench, before the daemon starts. */
  prepare?(node: Regtest): Promise<unknown>
  /** In the bench, before the attackers come; what it gives is asked in the end for what honest clients have lost. */
  beside?(stage: Stage): Promise<Beside>
  /** In the attackers' process. Resolves when they are all in place; they go on until the process is ended. */
  launch(target: Target): Promise<void> | void
  /** In the bench, once the attackers are in place, while the honest client is measured; what others have lost, in words. */
  meanwhile?(stage: Stage, forMs: number): Promise<string[]>
  /** What the attackers counted that must not be, in words. */
  faults?(tally: Readonly<Record<string, number>>): string[]
}

export interface Beside extends Disposable {
  /** Added to what the attackers are told. */
  data?: Record<string, unknown>
  losses(): string[]
}

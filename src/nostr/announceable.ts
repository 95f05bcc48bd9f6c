/** Which bonds a taker of today's market should find on Nostr: what the door serves, and what a relay should have. */
import { isTakenToday } from '../bonds/today.ts'
import type { ConfirmedBond } from '../bonds/types.ts'
import type { Network } from '../chain/types.ts'
import type { Market } from '../market.ts'
import type { Liveness } from '../peers/liveness.ts'

/** Live at the market's tip, accepted by today's takers, and not `down`; ascending by outpoint. */
export function announceable(
  { list }: Market,
  liveness: Pick<Liveness, 'reachOf'>,
  network: Network,
): readonly ConfirmedBond[] {
  return list.live.flatMap(({ bond }) =>
    isTakenToday(bond, network) && liveness.reachOf(bond.address) !== 'down' ? [bond] : [],
  )
}

/** What the views are made from, without a database: bonds at a tip, and what is said of their makers. */
import { listMakers } from '../../src/bonds/list.ts'
import type { ConfirmedBond, Tip } from '../../src/bonds/types.ts'
import { stateOf } from '../../src/bonds/verify.ts'
import { formatOutpoint } from '../../src/chain/types.ts'
import { type Market, makersOf } from '../../src/market.ts'
import type { MakerLife } from '../../src/peers/liveness.ts'
import type { MakerRecord, OfferTerms } from '../../src/peers/types.ts'
import type { TrackerRecord } from '../../src/store/local/trackers.ts'
import type { Facts } from '../../src/views/facts.ts'
import type { RelayRow } from '../../src/views/schemas/relays.ts'
import { tipAt } from './bonds.ts'

export interface Said {
  tip?: Tip
  bonds?: readonly ConfirmedBond[]
  /** By address. */
  offers?: Record<string, OfferTerms>
  records?: Record<string, MakerRecord>
  lives?: Record<string, MakerLife>
  trackers?: readonly TrackerRecord[]
  relays?: readonly RelayRow[]
}

const NOT_PROBED: MakerLife = {
  reach: 'unknown',
  day: { answered: 0, observed: 0 },
  month: { answered: 0, observed: 0 },
}

export function factsOf({ tip = tipAt(100_100), bonds = [], ...said }: Said): Facts {
  const list = listMakers(bonds, tip)
  const values = new Map(list.live.map(({ bond, value }) => [bond, value]))
  const known = bonds.map((bond) => ({
    key: formatOutpoint(bond.outpoint),
    bond,
    state: stateOf(bond, tip),
    value: values.get(bond) ?? 0,
  }))
  const market: Market = {
    tip,
    list,
    pending: [],
    known,
    live: known.filter(({ state }) => state === 'live'),
    makers: makersOf(list),
    counts: { pending: 0, live: list.live.length, expired: 0, spent: 0, refused: 0 },
  }
  return {
    config: { network: 'main' },
    chain: { tip: () => tip, scannedFrom: () => 0, revision: 0, pendingRevision: 0 },
    market: { read: () => market, makers: () => market.makers },
    liveness: {
      record: (address: string) => said.records?.[address],
      offerOf: (address: string) => said.offers?.[address],
      lifeOf: (address: string) => said.lives?.[address] ?? NOT_PROBED,
      isProven: () => false,
      counts: () => ({ up: 0, down: 0, unknown: market.makers.size }),
    },
    trackers: { list: () => said.trackers ?? [], revision: 0 },
    relays: { rows: () => said.relays ?? [], without: () => [] },
    notSynced: () => undefined,
    unseen: () => undefined,
  } as unknown as Facts
}

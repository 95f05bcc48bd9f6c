/** Relays as they are told of. */
import type { Txid } from '../../src/chain/types.ts'
import { noFaults } from '../../src/nostr/relay-view.ts'
import type { RelayRecord } from '../../src/nostr/relay-watch.ts'
import { relayRow } from '../../src/views/relays.ts'
import type { RelayRow } from '../../src/views/schemas/relays.ts'

/** One that is read and has everything, unless `record` says else. */
export function aRelay(
  record: Partial<Omit<RelayRecord, 'counts'>> & { counts?: RelayRecord['counts'] | undefined } = {},
): RelayRow {
  return relayRow({
    url: 'wss://relay.example',
    state: 'live',
    stateSinceS: 1_800_000_000,
    isSlowed: false,
    readS: 1_800_000_000,
    counts: { announced: 3, missing: [], dead: 0, invalid: noFaults() },
    delaysS: [],
    failures: 0,
    notices: [],
    ...(record as Partial<RelayRecord>),
  })
}

/** With something in every field. */
export function aTalkativeRelay(missing: readonly Txid[]): RelayRow {
  return aRelay({
    counts: { announced: 3, missing, dead: 2, invalid: { ...noFaults(), expired: 4, signature: 1 } },
    delaysS: [5, 70, 31],
    failures: 1,
    failure: 'it closed the connection (1001)',
    notices: ['NOTICE: slow down', 'AUTH: asks who we are, and is not told'],
    information: {
      name: 'a relay, "ours"',
      software: 'https://example.org/relay',
      version: '1.0',
      limitation: {
        authRequired: true,
        paymentRequired: false,
        restrictedWrites: true,
        minPowDifficulty: 20,
        maxLimit: 500,
      },
    },
    mending: {
      counts: { accepted: 1, duplicate: 2, refused: 3, silent: 4, unserved: 5 },
      pause: { why: 'pow: 20 bits needed', untilS: 1_800_000_600 },
    },
  })
}

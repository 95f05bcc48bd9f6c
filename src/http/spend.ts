/** Who spends an outpoint, as far as the store has recorded it. Asks nobody and registers nothing. */
import { formatOutpoint, type Outpoint } from '../chain/types.ts'
import type { Db } from '../store/open.ts'
import { readSpends } from '../store/spends.ts'
import { type Spend, spendOf } from '../watch/spend.ts'
import type { ChainFacts } from './market.ts'
import type { SpendReply } from './replies.ts'

/** Without a look at bitcoind's UTXO set nothing is called unspent: `unknown` where no spend is recorded. */
export function recordedSpend(db: Db, chain: ChainFacts, outpoint: Outpoint): Spend {
  return spendOf(outpoint, readSpends(db, outpoint), undefined, chain.isRegistered(outpoint))
}

export function spendRow(spend: Spend): SpendReply {
  return {
    outpoint: formatOutpoint(spend.outpoint),
    state: spend.state,
    registered: spend.registered,
    txid: spend.txid ?? null,
    vin: spend.vin ?? null,
    tx: spend.tx ? Buffer.from(spend.tx).toString('hex') : null,
    height: spend.height ?? null,
    block_hash: spend.blockHash ?? null,
    first_seen: spend.firstSeenS ?? null,
    conflicts: spend.conflicts ?? [],
  }
}

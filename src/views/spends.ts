/** Who spends an outpoint, as a row. */
import { formatOutpoint } from '../chain/types.ts'
import type { Spend } from '../watch/spend.ts'
import type { SpendRow } from './schemas/spends.ts'

export function spendRow(spend: Spend): SpendRow {
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
    conflicts: spend.conflicts ? [...spend.conflicts] : [],
  }
}

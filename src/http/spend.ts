/** A spend as the JSON API shows it. */
import { formatOutpoint } from '../chain/types.ts'
import type { Spend } from '../watch/spend.ts'
import type { SpendReply } from './replies.ts'

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

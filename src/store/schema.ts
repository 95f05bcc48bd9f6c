/** The tables of migrations/ as Kysely sees them. Rows never leave this room: queries take and give domain values. */

export interface AnnouncementColumns {
  txid: Buffer
  vout: number
  address: string
  format: string
  amount_sats: number
  is_p2wsh: number
  lock_height: number | null
}

export interface Schema {
  identity: { id: number; network: string; signet_challenge: string | null; key_salt: Buffer }
  blocks: { height: number; hash: Buffer; time_s: number }
  bonds: AnnouncementColumns & { conf_height: number; refusal: string | null }
  pending_bonds: AnnouncementColumns
  watches: { txid: Buffer; vout: number; until_height: number }
  spenders: { txid: Buffer; raw_tx: Buffer; first_seen_s: number; height: number | null; in_mempool: number }
  spends: { txid: Buffer; vout: number; spender_txid: Buffer; vin: number }
  trackers: {
    address: string
    source: string
    added_s: number
    asked_s: number | null
    seen_s: number | null
    failures: number
    failure: string | null
    version: string | null
    height: number | null
    block_hash: Buffer | null
    digest: Buffer | null
    agrees: number | null
    compared_height: number | null
    only_ours: string
    only_theirs: string
  }
  spent_keys: { id: number; keys: Buffer }
  daemon: { id: number; report: string }
}

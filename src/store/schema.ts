/** The tables of migrations/ as Kysely sees them. Rows never leave this room: queries take and give domain values. */

import type { Generated } from 'kysely'

export interface AnnouncementColumns {
  txid: Buffer
  vout: number
  address: string
  format: string
  amount_sats: number
  is_p2wsh: number
  lock_height: number | null
  tx_refusals: string | null
}

export interface MakerColumns {
  address: string
  last_probe_ms: number
  last_up_ms: number | null
  failures: number
  first_failure_ms: number | null
  last_failure_ms: number | null
  failure: string | null
  failure_text: string | null
  dialect: string | null
  protocols: string | null
  pinged_ms: number | null
  offer_asked_ms: number | null
  offer_fault: string | null
  proof_ms: number | null
  proof_txid: Buffer | null
  proof_vout: number | null
  proof_failed: string | null
  proof_text: string | null
}

export interface OfferColumns {
  at_ms: number
  base_fee_sats: number
  amount_fee_pct: number
  time_fee_pct: number
  required_confirms: number | null
  lock_blocks_min: number
  amount_sats_min: number
  amount_sats_max: number
  lightning: string | null
  lightning_fault: string | null
}

export interface ProbeColumns {
  at_ms: number
  outcome: string
  failure: string | null
  failure_text: string | null
  dialect: string | null
  latency_ms: number
}

export interface Schema {
  identity: { id: number; network: string; signet_challenge: string | null; key_salt: Buffer }
  blocks: { height: number; hash: Buffer; time_s: number }
  bonds: AnnouncementColumns & { conf_height: number; refusal: string | null }
  pending_bonds: AnnouncementColumns
  watches: { txid: Buffer; vout: number; until_height: number; unfunded_until: number | null }
  spenders: { txid: Buffer; raw_tx: Buffer; first_seen_s: number; height: number | null; in_mempool: number }
  rescanned_spenders: { txid: Buffer; height: number; hash: Buffer }
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
  indexed_blocks: { height: number; keys: Buffer | null }
  spent_keys: { id: number; keys: Buffer }
  daemon: { id: number; report: string }
  makers: MakerColumns & { id: Generated<number> }
  offers: OfferColumns & { maker_id: number }
  proofs: { txid: Buffer; vout: number; conf_hash: Buffer; era: string; source: string; at_ms: number }
  proofs_taken_back: { txid: Buffer; vout: number; at_ms: string }
  probes: ProbeColumns & { id: Generated<number>; maker_id: number; source: number }
  probe_hours: { maker_id: number; hour: number; source: string; answered: number; failed: number; unjudged: number }
  untold: { kind: string; key: string; noted: number }
  shared_position: { id: number; place: string; change: number }
  relays: {
    id: Generated<number>
    url: string
    cursor_s: number | null
    read_s: number | null
    news_s: number | null
    delays: string
    faults: string
    report: string | null
  }
  relay_bonds: { relay_id: number; txid: Buffer; until_s: number; is_own: number }
  relay_hours: {
    relay_id: number
    hour: number
    announced: number
    missing: number
    dead: number
    invalid: number
  }
}

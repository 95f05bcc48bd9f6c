/** The shared tables as migrations/shared/ makes them, for Kysely. bigint columns are numbers here. */
import type { Generated } from 'kysely'

interface OutpointColumns {
  /** 32 bytes in display order. */
  txid: Buffer
  vout: number
  change: number
}

export interface SharedSchema {
  schema_version: { version: number; name: string; applied_at: Generated<Date> }
  identity: { id: number; network: string; made_at: Generated<Date> }
  clock: { id: number; change: number; registrations: number; makers: number; place: string }
  watches: OutpointColumns & { until_height: number; unfunded_until: number | null }
  dropped: OutpointColumns & { until_height: number }
  makers: {
    address: string
    last_probe_ms: number
    offer_asked_ms: number | null
    tie: number
    /** JSON, as it was parsed. */
    record: unknown
    offer: unknown
    change: number
  }
  proofs: OutpointColumns & { at_ms: number; conf_hash: Buffer | null; era: string | null; source: string | null }
  probes: {
    address: string
    at_ms: number
    source: number
    outcome: string
    failure: string | null
    failure_text: string | null
    dialect: string | null
    latency_ms: number
    change: number
  }
  probe_hours: {
    address: string
    hour: number
    source: number
    answered: number
    failed: number
    unjudged: number
    change: number
  }
  turns: { host: string; free_at: string; holder: string | null; lease_until: string | null }
  leases: { name: string; holder: string; until: string }
}

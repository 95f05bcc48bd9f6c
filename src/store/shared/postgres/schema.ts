/** The shared tables as migrations/shared/ makes them, for Kysely. bigint columns are numbers here. */
import type { Generated } from 'kysely'

export interface SharedSchema {
  schema_version: { version: number; name: string; applied_at: Generated<Date> }
  identity: { id: number; network: string; made_at: Generated<Date> }
}

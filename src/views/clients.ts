/** Who is connected to the request server, as rows: what each has asked, holds and costs. They have no names and no addresses. */
import type { Core } from '../core.ts'
import type { ClientRow } from './schemas.ts'

/** All of them, by id: the order in which they came. */
export function clientRows({ wire }: Pick<Core, 'wire'>): ClientRow[] {
  return (wire?.clients() ?? []).map((client) => ({
    id: client.id,
    since: Math.floor(client.sinceMs / 1000),
    circuit: client.circuit ?? null,
    group: client.group,
    requests: client.requests,
    subscriptions: client.subscriptions,
    units: client.units,
    units_lately: Math.round(client.unitsLately),
    units_left: Math.floor(client.unitsLeft),
    unsent_bytes: client.unsentBytes,
  }))
}

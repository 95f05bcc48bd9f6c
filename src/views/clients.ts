/** Who is connected, as rows: what each has asked, holds and costs. They have no names and no addresses. */
import type { Core } from '../core.ts'
import type { ClientFacts } from '../wire/connection.ts'
import type { SlotGroup } from '../wire/slots.ts'
import type { ClientRow } from './schemas/clients.ts'

/** All of them, by id: the order in which they came. */
export function clientRows({ wire, door }: Pick<Core, 'wire' | 'door'>): ClientRow[] {
  const rows = [
    ...(wire?.clients() ?? []).map((client) => rowOf('requests', client)),
    ...(door?.clients() ?? []).map((client) => rowOf('nostr', client)),
  ]
  return rows.sort((a, b) => a.id - b.id)
}

function rowOf(door: ClientRow['door'], client: ClientFacts & { group: SlotGroup }): ClientRow {
  return {
    id: client.id,
    door,
    since: Math.floor(client.sinceMs / 1000),
    circuit: client.circuit ?? null,
    group: client.group,
    requests: client.requests,
    subscriptions: client.subscriptions,
    units: client.units,
    units_lately: Math.round(client.unitsLately),
    units_left: Math.floor(client.unitsLeft),
    unsent_bytes: client.unsentBytes,
  }
}

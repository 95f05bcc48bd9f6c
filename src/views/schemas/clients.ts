/** The row of who is connected. */
import { z } from 'zod'
import { SLOT_GROUPS } from '../../wire/slots.ts'
import { component, count, unixS } from './words.ts'

export const clientSchema = component(
  'Client',
  z.strictObject({
    id: count.describe('counts connections since the start'),
    door: z.enum(['requests', 'nostr']).describe('by which it came: to the request server, or to the Nostr relay'),
    since: unixS,
    circuit: z.string().nullable().describe('how Tor names its circuit; null where that is not known'),
    group: z.enum(SLOT_GROUPS).describe('by which places are shared: has said nothing, has asked, is subscribed'),
    requests: count,
    subscriptions: count.describe('outpoints, or subscriptions of the Nostr relay'),
    units: count.describe('work it has asked for since it came'),
    units_lately: count.describe('of late, its circuit included: half of it is forgotten in 30 s'),
    units_left: z.int().describe('of its allowance; below 1 it is not read'),
    unsent_bytes: count.describe('what it has not taken yet'),
  }),
)
export type ClientRow = z.infer<typeof clientSchema>

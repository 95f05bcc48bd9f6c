/** The row of a watched relay, and of one moment of its past. */
import { z } from 'zod'
import { MENDED_OUTCOMES } from '../../nostr/mender.ts'
import { EVENT_FAULTS } from '../../nostr/relay-view.ts'
import { component, count, outpoint, unixS } from './words.ts'

const counted = count.nullable()
const ofEach = <W extends string>(words: readonly W[]) =>
  Object.fromEntries(words.map((word) => [word, count])) as { [word in W]: typeof count }

export const relaySchema = component(
  'Relay',
  z.strictObject({
    url: z.string().max(300).describe('as it was configured'),
    state: z
      .enum(['connecting', 'reading', 'live', 'waiting', 'stopped'])
      .describe('live: all was read, and what comes is heard; waiting: for another try; stopped: the daemon is'),
    state_since: unixS,
    slowed: z.boolean().describe('it sends faster than it is read'),
    last_read: unixS.nullable().describe('when everything it has was read last, as a taker does that was just started'),
    announced: counted.describe(
      'live bonds that takers accept, of makers not down, with a valid event there; null, as all counts, while our own list is not whole or the relay was not read for an hour',
    ),
    missing: counted.describe('such bonds without a valid event there'),
    dead: counted.describe(
      'bonds with a valid event there that were spent, have expired, never qualified or never were',
    ),
    invalid: counted.describe('events there that takers pass over; at most 5,000 are counted'),
    missing_bonds: z.array(outpoint).max(100).describe('the first hundred of those missing'),
    invalid_by: z.strictObject(ofEach(EVENT_FAULTS)).nullable().describe('why takers pass over them'),
    delay_s: count
      .nullable()
      .describe('median, from a block with a new bond to its first event there; null without any'),
    delays: count.describe('new bonds that it is the median of'),
    failures: count.describe('times in a row that it was not read'),
    failure: z.string().max(200).nullable().describe('what happened last'),
    notices: z
      .array(z.string().max(220))
      .max(5)
      .describe('what it said of itself, NOTICE, CLOSED or AUTH; newest first'),
    name: z.string().max(80).nullable().describe('what it calls itself (NIP-11), as are software and limitation'),
    software: z.string().max(170).nullable(),
    limitation: z.strictObject({
      auth_required: z.boolean().nullable(),
      payment_required: z.boolean().nullable(),
      restricted_writes: z.boolean().nullable(),
      min_pow_difficulty: count.nullable(),
      max_limit: count.nullable().describe('events in one answer'),
    }),
    publishing: z
      .strictObject({
        ...ofEach(MENDED_OUTCOMES),
        refusal: z.string().max(300).nullable().describe('why nothing is sent just now, in its words'),
        resumes_at: unixS.nullable(),
      })
      .nullable()
      .describe('events of missing bonds sent since the start, by what became of them; null without --nostr-publish'),
  }),
)
export type RelayRow = z.infer<typeof relaySchema>

export const relayPointSchema = z.strictObject({
  url: z.string().max(300),
  time: unixS.describe('the end of the hour, or now in the present one'),
  announced: count,
  missing: count,
  dead: count,
  invalid: count,
})
export type RelayPointRow = z.infer<typeof relayPointSchema>

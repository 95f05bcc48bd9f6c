/** The row of this tracker itself: how it is doing, what readiness names, what to do. */
import { z } from 'zod'
import { NETWORKS } from '../../chain/types.ts'
import { address, blockHash, component, count, digest, height, unixS, unseen } from './words.ts'

export const check = z.strictObject({ ok: z.boolean(), detail: z.string() })
export const checksSchema = component(
  'Checks',
  z.strictObject({
    database: check.describe('can be read'),
    bitcoind: check.describe('answers'),
    sync: check.describe("the scan has reached bitcoind's tip: lists are answered"),
    tor: check.describe('answers'),
    onion: check.describe('published, and reached through Tor by our own canary'),
    shared_store: check.describe('is there and read; only where one is set').optional(),
  }),
)
export type Checks = z.infer<typeof checksSchema>

const adviceSchema = component(
  'Advice',
  z.strictObject({
    check: checksSchema.keyof().describe('what it is about'),
    text: z.string().describe('what is the matter'),
    fix: z.string().describe('what to type or to change, as doctor says it'),
  }),
)
export type AdviceRow = z.infer<typeof adviceSchema>

export const statusSchema = component(
  'Status',
  z.strictObject({
    version: z.string(),
    network: z.enum(NETWORKS),
    running: z.boolean().describe('whether a daemon runs; over HTTP always true'),
    pid: count.nullable(),
    started_at: unixS.nullable(),
    uptime_s: count.describe('since this daemon was started'),
    time: unixS.describe('when all of this was so'),
    ready: z.boolean().describe('whether takers get answers: all checks are ok'),
    not_ready: z.array(z.string()).describe('what is waited for, in words; empty when ready'),
    checks: checksSchema,
    advice: z
      .array(adviceSchema)
      .describe('what to do about what is in the way, once for each cause; empty where there is nothing to do'),
    height: height.nullable().describe('our tip; null before anything is scanned'),
    block_hash: blockHash.nullable(),
    block_time: unixS.nullable(),
    scanned_from: height.nullable().describe('the lowest height scanned'),
    unseen,
    synced: z.boolean().describe('whether lists are answered'),
    bonds: count.describe('live bonds'),
    makers: count.describe('makers with a live bond'),
    makers_up: count,
    makers_down: count,
    makers_unknown: count,
    digest: digest.nullable(),
    address: z.string().describe('where takers reach this tracker'),
    bitcoind: z.strictObject({
      state: z
        .enum(['connecting', 'unreachable', 'initial-download', 'following', 'waiting-for-block'])
        .describe(
          "connecting: not reached yet since the start; waiting-for-block: it answers, and can't give the next block",
        ),
      detail: z.string(),
      warnings: z
        .array(z.string())
        .describe('what makes one doubt that it is up to date, while it answers: no peers, headers ahead, an old tip'),
      best_height: height.nullable(),
      best_hash: blockHash.nullable(),
      blocks_by: z.enum(['rest', 'rpc']).nullable().describe('how blocks are read just now'),
    }),
    progress: z
      .strictObject({
        from: height,
        at: height,
        to: height,
        blocks_per_s: z.number().min(0),
        mb_per_s: z.number().min(0),
        eta_s: count.nullable(),
      })
      .nullable()
      .describe('while catching up'),
    onion: z.strictObject({
      state: z
        .enum(['disabled', 'starting', 'unreachable', 'withdrawn', 'publishing', 'published', 'standby'])
        .describe(
          'standby: of several trackers with one address (--onion-lease) another is to publish it; withdrawn: a back end of Onionbalance (--public-onion) that is not ready',
        ),
      detail: z.string(),
      address: address.nullable(),
      tor_version: z.string().nullable(),
      canary: z
        .strictObject({
          state: z
            .enum(['untried', 'green', 'red', 'impostor'])
            .describe('impostor: another process answers under our address, or publishes it'),
          detail: z.string(),
          last_green: unixS.nullable().describe('when it was reached last; null: not since the start'),
        })
        .nullable()
        .describe(
          'whether our own onion service is reached through Tor, and answers as this process; null without Tor',
        ),
    }),
    nostr: z
      .strictObject({
        url: z.string().describe('under which it is found: through Tor once the onion service has a name'),
        pubkey: z.string().describe('whose events are served: x-only, hex'),
        events: count.describe('served just now'),
        connections: count,
        subscriptions: count,
      })
      .nullable()
      .describe('the Nostr relay of this tracker; null without one'),
    mempool: z.strictObject({
      transactions: count,
      complete: z.boolean(),
      detail: z.string().nullable().describe("why it can't be read, while bitcoind answers else; null when it can"),
    }),
    reorgs: count.describe('since the start'),
    reorg_depth_max: count,
    connections: count.describe('of takers'),
    subscriptions: count.describe('outpoints that connections are subscribed to'),
    registrations: count.describe('outpoints registered, across restarts'),
  }),
)
export type StatusRow = z.infer<typeof statusSchema>

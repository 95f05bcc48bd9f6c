/** The verb `register`: registers outpoints at a tracker, and brings the effort it asks for when its places are few. */
import type { Outpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { ConfigError } from '../errors.ts'
import type { HostPort } from '../tor/address.ts'
import { type EffortAsked, EffortSearch, effortAskedBy } from '../watch/effort.ts'
import type { Reply } from '../wire/messages.ts'
import { breathe, type Clock } from '../world.ts'
import { withTracker } from './query.ts'

const LIMITS = {
  /** Hashes between two looks at the signal: some 10 ms. */
  hashesAtOnce: 5_000,
  /** Hours on one core. Whoever asks for more doesn't want to be asked. */
  bitsMax: 33,
  /** Places are taken while we look, or more than six blocks come: then it is asked for more, or for another one. */
  efforts: 5,
}

/** An effort that was found, with what it took. */
export interface FoundEffort {
  bits: number
  hashes: number
  seconds: number
}

export interface RegisterOutcome {
  reply: Reply
  /** Those that were brought, the last of them accepted if the reply is `Registered`. */
  efforts: FoundEffort[]
}

/** Resolves with the tracker's last word. `onEffort` is told of each effort before it is looked for. Throws ConfigError. */
export async function registerAt(
  config: Config,
  address: HostPort,
  asked: { outpoints: readonly Outpoint[]; ttlBlocks: number },
  { clock, signal, onEffort }: { clock: Clock; signal: AbortSignal; onEffort(asked: EffortAsked): void },
): Promise<RegisterOutcome> {
  const request = { type: 'Register' as const, outpoints: [...asked.outpoints], ttlBlocks: asked.ttlBlocks }
  const efforts: FoundEffort[] = []
  for (let effort: Buffer | undefined; ; ) {
    // Each time on a connection of its own: a long search would outlive one.
    const sent = effort
    const reply = await withTracker(config, address, signal, (ask) =>
      ask({ ...request, ...(sent && { effort: sent }) }),
    )
    const wanted = reply.type === 'Error' && reply.code === 'limit' ? effortAskedBy(reply.message) : undefined
    if (!wanted || efforts.length === LIMITS.efforts) return { reply, efforts }
    if (wanted.bits > LIMITS.bitsMax) {
      throw new ConfigError(
        `the tracker asks for an effort of ${wanted.bits} bits, more than ${LIMITS.bitsMax} are not looked for: name fewer outpoints or --blocks, or another --tracker`,
      )
    }
    onEffort(wanted)
    const startMs = clock.monotonicMs()
    const search = new EffortSearch({ blockHash: wanted.blockHash, outpoints: asked.outpoints }, wanted.bits)
    for (effort = undefined; !effort; effort = search.next(LIMITS.hashesAtOnce)) {
      await breathe()
      signal.throwIfAborted()
    }
    efforts.push({ bits: wanted.bits, hashes: search.hashes, seconds: (clock.monotonicMs() - startMs) / 1000 })
  }
}

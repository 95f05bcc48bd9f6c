/** The watch verb: subscribes to outpoints at a tracker and prints every change; comes again when the line is lost. */
import type { Outpoint } from '../chain/types.ts'
import type { Config } from '../config.ts'
import { ConfigError, describeError, isAbort, TransientError } from '../errors.ts'
import type { HostPort } from '../tor/address.ts'
import type { SpendRow } from '../views/schemas/spends.ts'
import { spendRow } from '../views/spends.ts'
import { conversation } from '../wire/client.ts'
import { Backoff, sleep } from '../world.ts'
import { dialTracker } from './query.ts'

const LIMITS = {
  /** What a tracker of its own machine needs to come back, and a circuit to be built anew. */
  backoff: { firstMs: 500, maxMs: 30_000 },
  replyMs: 60_000,
}

export type WatchEvent = { kind: 'spend'; row: SpendRow } | { kind: 'lost'; detail: string }

/**
 * Runs until the signal: the present state of each outpoint, then every change. After a loss the states that have
 * changed meanwhile come first. Throws ConfigError when the tracker refuses for good.
 */
export async function* watchLive(
  config: Config,
  address: HostPort,
  outpoints: readonly Outpoint[],
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const told = new Map<string, string>()
  const backoff = new Backoff(LIMITS.backoff, Math.random)
  for (;;) {
    try {
      const socket = await dialTracker(config, address, signal)
      using messages = conversation(socket, signal)
      messages.send({ type: 'Subscribe', outpoints: [...outpoints] })
      for (;;) {
        const reply = await messages.next(told.size === 0 ? LIMITS.replyMs : undefined)
        if (reply.type === 'Error' && ['not_synced', 'busy'].includes(reply.code))
          throw new TransientError(reply.message)
        if (reply.type === 'Error') throw new ConfigError(`the tracker answered ${reply.code}: ${reply.message}`)
        const spends = reply.type === 'Spends' ? reply.spends : reply.type === 'Spend' ? [reply] : []
        backoff.reset()
        for (const row of spends.map(spendRow)) {
          const text = JSON.stringify(row)
          if (told.get(row.outpoint) === text) continue
          told.set(row.outpoint, text)
          yield { kind: 'spend', row }
        }
      }
    } catch (error) {
      if (isAbort(error, signal)) return
      if (!(error instanceof TransientError)) throw error
      yield { kind: 'lost', detail: describeError(error) }
    }
    await sleep(backoff.nextMs(), signal).catch(() => {})
    if (signal.aborted) return
  }
}

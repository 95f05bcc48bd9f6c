/** Runs loops side by side: when one fails the rest are stopped, and all are home before the first error is thrown. */
import { isAbort } from './errors.ts'

export type Loop = (signal: AbortSignal) => Promise<void>

/**
 * Resolves when `signal` has stopped every loop. A loop that returns by itself is fine; one that throws stops the
 * others, and its error is thrown once they have returned.
 */
export async function runAll(signal: AbortSignal, loops: Record<string, Loop>): Promise<void> {
  const siblings = new AbortController()
  const all = AbortSignal.any([signal, siblings.signal])
  let failure: { error: unknown } | undefined
  await Promise.all(
    Object.values(loops).map(async (loop) => {
      try {
        await loop(all)
      } catch (error) {
        if (isAbort(error, all)) return
        failure ??= { error }
        siblings.abort(new DOMException('a sibling loop failed', 'AbortError'))
      }
    }),
  )
  if (failure) throw failure.error
}

/** Waiting for conditions, never for time. */
import { setTimeout as pause } from 'node:timers/promises'

/** Polls until `predicate` gives something truthy, and returns it. Fails after `timeoutMs` with the last value seen. */
export async function waitUntil<T>(
  what: string,
  predicate: () => T | Promise<T>,
  { timeoutMs = 30_000, everyMs = 50 } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    const value = await predicate()
    if (value) return value as NonNullable<Exclude<T, false>>
    if (performance.now() > endMs)
      throw new Error(`waited ${timeoutMs / 1000} s until ${what}; last seen: ${JSON.stringify(value)}`)
    await pause(everyMs)
  }
}

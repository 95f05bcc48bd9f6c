/**
 * Errors by fate, not by origin: who has to act decides the class. Everything else that "goes wrong" (a reorg, a
 * refused bond, an unknown outpoint, a stop) is a value, never an exception.
 */

/** The operator has to change something: `main.ts` prints one line and leaves with exit code 2. Never retried. */
export class ConfigError extends Error {
  override readonly name: string = 'ConfigError'
}

/**
 * Somebody we depend on doesn't let us in. A ConfigError at first contact; once they have let us in before, their
 * settings are being changed, and the loop that called waits.
 */
export class AccessRefused extends ConfigError {
  override readonly name = 'AccessRefused'
}

/** Weather: bitcoind, Tor or a network was not there. The loop that called retries with backoff. */
export class TransientError extends Error {
  override readonly name: string = 'TransientError'
}

/** bitcoind is there, and can't give this one block: pruned, not downloaded yet, damaged on its disk. */
export class BlockUnavailable extends TransientError {
  override readonly name = 'BlockUnavailable'
}

/** A stranger on one connection misbehaved: that connection is answered with `code` (and closed where the spec says). */
export class PeerFault extends Error {
  override readonly name = 'PeerFault'
  readonly code: WireErrorCode
  constructor(code: WireErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Our own bug, or a database that contradicts itself: `main.ts` logs it and leaves with exit code 1. */
export class BrokenInvariant extends Error {
  override readonly name = 'BrokenInvariant'
}

/** The database can't be read or written (disk full, I/O error, file damaged): exit code 74. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
}

/** bitcoind or Tor did not appear within `--start-timeout`, or what a verb has to ask is away: exit code 69. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
}

/** The codes of `{"Error": {code, message}}`. */
export type WireErrorCode =
  | 'bad_frame'
  | 'too_large'
  | 'bad_request'
  | 'unknown_request'
  | 'not_synced'
  | 'limit'
  | 'not_found'
  | 'busy'
  | 'internal'

/** True when `error` only says that `signal` asked us to stop. */
export function isAbort(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'))
}

/** One line for people: the message and those of its causes. */
export function describeError(error: unknown): string {
  const parts: string[] = []
  for (let e: unknown = error; e !== undefined && parts.length < 5; e = e instanceof Error ? e.cause : undefined) {
    const text = e instanceof Error ? e.message || e.name : String(e)
    if (!parts.some((part) => part.includes(text))) parts.push(text)
  }
  return parts.join(': ').replace(/\s+/g, ' ')
}

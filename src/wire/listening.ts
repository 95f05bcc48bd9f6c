/** Why a door can't be listened on, and what to do: of what `listen` has thrown. */
import { describeError } from '../errors.ts'

export function whyNotListening(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return 'another program listens there. Stop it, or choose another port'
  if (code === 'EACCES') return 'this user may not use that port. Choose one above 1023'
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address. Choose 127.0.0.1'
  return describeError(error)
}

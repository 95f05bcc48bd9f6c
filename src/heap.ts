/** How the daemon's heaps grow. Flags of V8, of all threads. */
import { setFlagsFromString } from 'node:v8'
import { after } from './world.ts'

const LIMITS = {
  /** What a start may take on a slow machine; its modules are loaded long before. */
  startMs: 5_000,
}

/**
 * Loading modules makes much that stays, by which V8 would size the room for new objects: up to 48 MB a thread, touched in
 * turn and not given back. What follows needs 3 MB of it, until a thousand clients ask at once: then it may grow.
 */
export function keepHeapsSmallAtStart(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  after(LIMITS.startMs, () => setFlagsFromString('--semi-space-growth-factor=2')) // as V8 has it
}

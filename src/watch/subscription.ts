/** One connection: what it is subscribed to, and what it has registered. */
import type { Outpoint } from '../chain/types.ts'
import type { Entry, Subscriber } from './book.ts'

export class Subscription implements Subscriber {
  /** What it is subscribed to, each with the signature of what it was told last: by an answer, or a push that went out. */
  readonly entries = new Map<Entry, string>()
  /**
   * Outpoints that it has registered, each as the recorder keeps it while it is registered: to nobody else it is told that
   * they are. As many as a connection may register.
   */
  readonly registered = new Set<Outpoint>()
  /** Its connection has ended: nothing is to be added. */
  isOver = false
  readonly #tell: (entry: Entry) => void

  /** `tell`: there may be news of the entry; see `Watcher.news`. */
  constructor(tell: (entry: Entry) => void) {
    this.#tell = tell
  }

  stands(entry: Entry, signature: string): void {
    if (this.entries.get(entry) !== signature) this.#tell(entry)
  }

  /** `outpoint` as the recorder keeps it; undefined when it isn't registered. */
  hasRegistered(outpoint: Outpoint | undefined): boolean {
    return outpoint !== undefined && this.registered.has(outpoint)
  }
}

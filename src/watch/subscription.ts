/** One connection: what it is subscribed to, and what it has registered. */
import { KeyTable } from '../chain/key-table.ts'
import type { Entry, Subscriber } from './book.ts'

export class Subscription implements Subscriber {
  /** What it is subscribed to, each with the signature of what it was told last: by an answer, or a push that went out. */
  readonly entries = new Map<Entry, string>()
  /**
   * Keys of the outpoints that it has registered, for as long as they are: to nobody else it is told that they are. As many
   * as a connection may register; kept by registered-outpoints.ts.
   */
  readonly registered = new KeyTable(1)
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
}

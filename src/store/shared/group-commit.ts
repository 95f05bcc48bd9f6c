/**
 * Rows that are on the disk before anybody is answered, without a wait for the disk on the serving thread and without one
 * for each: all that come while the last ones are written share the next commit.
 */
import { breathe } from '../../world.ts'
import type { Db } from '../open.ts'

export class GroupCommit<Row> {
  readonly #db: Db
  readonly #write: (row: Row) => void
  readonly #rowsAtOnce: number
  #waiting: Row[] = []
  /** The commit that is under way, and the one that follows it. */
  #current: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  /** `rowsAtOnce`: rows of one transaction, which the serving thread writes in one go. */
  constructor(db: Db, rowsAtOnce: number, write: (row: Row) => void) {
    this.#db = db
    this.#rowsAtOnce = rowsAtOnce
    this.#write = write
  }

  /** Resolves once the rows are on the disk. Throws StoreError. */
  add(rows: readonly Row[]): Promise<void> {
    this.#waiting.push(...rows)
    this.#next ??= this.#afterCurrent()
    return this.#next
  }

  /** Resolves once all rows that were added before are on the disk, or failed to. */
  async settled(): Promise<void> {
    await (this.#next ?? this.#current).catch(() => {})
  }

  async #afterCurrent(): Promise<void> {
    await this.#current.catch(() => {}) // told to those who wait for it
    await breathe()
    this.#next = undefined
    this.#current = this.#commit(this.#waiting.splice(0))
    await this.#current
  }

  async #commit(rows: readonly Row[]): Promise<void> {
    for (let at = 0; at < rows.length; at += this.#rowsAtOnce) {
      if (at > 0) await breathe()
      this.#db.transaction(() => {
        for (const row of rows.slice(at, at + this.#rowsAtOnce)) this.#write(row)
      })
    }
    await this.#db.synced()
  }
}

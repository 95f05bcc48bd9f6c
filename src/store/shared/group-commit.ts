/**
 * Rows that are committed before anybody is answered, without a commit for each: all that come while the last ones are
 * written share the next commit. Where they are written is the caller's.
 */
import { breathe } from '../../world.ts'

export class GroupCommit<Row> {
  readonly #commit: (rows: readonly Row[]) => Promise<void>
  #waiting: Row[] = []
  /** The commit that is under way, and the one that follows it. */
  #current: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  /** `commit` resolves once the rows can't be lost; it never runs twice at once, and takes as many rows as have come. */
  constructor(commit: (rows: readonly Row[]) => Promise<void>) {
    this.#commit = commit
  }

  /** Resolves once the rows are committed. Throws what `commit` throws, to all whose rows went with it. */
  add(rows: readonly Row[]): Promise<void> {
    for (const row of rows) this.#waiting.push(row)
    this.#next ??= this.#afterCurrent()
    return this.#next
  }

  /** Resolves once all rows that were added before are committed, or failed to. */
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
}

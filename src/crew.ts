/** Work that goes on side by side in one loop, by name: each once at a time; the first that breaks breaks the loop. */
import { isAbort } from './errors.ts'

export class Crew {
  readonly #underWay = new Map<string, Promise<void>>()
  readonly #onDone: () => void
  #failure: { error: unknown } | undefined

  /** `onDone` is called whenever one has ended. */
  constructor(onDone: () => void) {
    this.#onDone = onDone
  }

  get size(): number {
    return this.#underWay.size
  }

  has(name: string): boolean {
    return this.#underWay.has(name)
  }

  /** `work` ends soon after `signal`. */
  start(name: string, work: Promise<void>, signal: AbortSignal): void {
    const watched = work
      .catch((error: unknown) => {
        if (!isAbort(error, signal)) this.#failure ??= { error }
      })
      .finally(() => {
        this.#underWay.delete(name)
        this.#onDone()
      })
    this.#underWay.set(name, watched)
  }

  /** Throws what the first broken one threw. */
  throwIfBroken(): void {
    if (this.#failure) throw this.#failure.error
  }

  /** Resolves when all have ended, however. */
  async home(): Promise<void> {
    await Promise.allSettled(this.#underWay.values())
  }
}

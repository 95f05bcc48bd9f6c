/**
 * What goes on side by side: loops that stop together (`runAll`), tasks of one loop (`TaskGroup`), waiting that ends with a
 * signal and leaves nothing on it (`raceAbort`, `ScopedAbort`), a wake-up that is never lost (`Bell`), and work that has to wait for its turn (`Turns`).
 */
import { isAbort } from './errors.ts'
import { after } from './world.ts'

/** Returns soon after its signal fires. */
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

/**
 * `work`, or the signal's reason as soon as it fires. Leaves nothing on `signal`, which may outlive many of these: a
 * `Promise.race` with a promise that settles at the very end keeps all that ever raced with it.
 */
export function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** A signal that fires with `parent` or by itself (`abort`), and lets `parent` go when disposed. */
export class ScopedAbort implements Disposable {
  readonly #controller = new AbortController()
  readonly #parent: AbortSignal
  readonly #onAbort = () => this.abort(this.#parent.reason)

  constructor(parent: AbortSignal) {
    this.#parent = parent
    if (parent.aborted) this.#onAbort()
    else parent.addEventListener('abort', this.#onAbort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Of several the first counts. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  [Symbol.dispose](): void {
    this.#parent.removeEventListener('abort', this.#onAbort)
  }
}

/** A loop that runs until it is disposed. */
export class Background implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  /** Rejects when the loop fails; never resolves. */
  readonly failed: Promise<never>

  constructor(loop: Loop) {
    this.#running = loop(this.#stop.signal)
    this.failed = new Promise((_, reject) => {
      this.#running.catch((error) => {
        if (!isAbort(error, this.#stop.signal)) reject(error)
      })
    })
    this.failed.catch(() => {}) // told to whoever waits for it
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('closed', 'AbortError'))
    await this.#running.catch(() => {})
  }
}

/** Tasks of one loop by name: each once at a time; the first that fails fails the loop. */
export class TaskGroup {
  readonly #running = new Map<string, Promise<void>>()
  readonly #onEnd: () => void
  #failure: { error: unknown } | undefined

  /** `onEnd` is called whenever a task has ended. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  get size(): number {
    return this.#running.size
  }

  has(name: string): boolean {
    return this.#running.has(name)
  }

  /** `task` ends soon after `signal`. */
  start(name: string, task: Promise<void>, signal: AbortSignal): void {
    const watched = task
      .catch((error: unknown) => {
        if (!isAbort(error, signal)) this.#failure ??= { error }
      })
      .finally(() => {
        this.#running.delete(name)
        this.#onEnd()
      })
    this.#running.set(name, watched)
  }

  /** Throws what the first failed task threw. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error
  }

  /** Resolves when all tasks have ended, however. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#running.values())
  }
}

/** A wake-up that is never lost: ringing with nobody waiting makes the next wait return at once. */
export class Bell {
  #waiting: (() => void)[] = []
  #rang = false

  ring(): void {
    if (this.#waiting.length === 0) this.#rang = true
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Resolves at the next ring, or after `maxMs`. */
  wait(maxMs: number): Promise<void> {
    if (this.#rang) {
      this.#rang = false
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      const wake = () => {
        cancel()
        resolve()
      }
      const cancel = after(maxMs, () => {
        this.#waiting = this.#waiting.filter((other) => other !== wake)
        resolve()
      })
      this.#waiting.push(wake)
    })
  }
}

/**
 * Pieces of work that wait for the serving thread: run one at a time, the one that is due first, until those of this turn
 * of the event loop have had their time; then sockets and timers have theirs. Knows no clients and no allowance.
 *
 * Thousands may wait, and each takes some ten microseconds itself: so a heap, and no more than one promise a piece.
 */
import type { Clock } from '../world.ts'

interface Waiting {
  readonly dueMs: number
  /** Counts pieces: of those due together the first that came is first. */
  readonly number: number
  /** Undefined once nobody waits for it. */
  run: (() => void) | undefined
}

export class Pieces {
  readonly #turnMs: number
  readonly #clock: Clock
  readonly #counts: { longestPieceMs: number }
  /** A binary heap, the one that is due first at its root. */
  readonly #heap: Waiting[] = []
  #count = 0
  #size = 0
  #isRunning = false
  /** When the pieces of this turn of the event loop began; undefined when there were none. */
  #turnSinceMs: number | undefined
  #isScheduled = false

  /** `turnMs`: what the pieces of one turn may take together; the last of them may go beyond it. */
  constructor(turnMs: number, clock: Clock, counts: { longestPieceMs: number }) {
    this.#turnMs = turnMs
    this.#clock = clock
    this.#counts = counts
  }

  /** How many wait. */
  get size(): number {
    return this.#size
  }

  /** Whether it would be the turn of one that came now: none runs, none waits, and this turn of the event loop has time. */
  get isFree(): boolean {
    return !this.#isRunning && this.#size === 0 && !this.#isTurnOver
  }

  get #isTurnOver(): boolean {
    return this.#turnSinceMs !== undefined && this.#clock.monotonicMs() - this.#turnSinceMs > this.#turnMs
  }

  /** Runs one whose turn it is. */
  run<T>(work: () => T): T {
    const startMs = this.#clock.monotonicMs()
    if (this.#turnSinceMs === undefined) {
      this.#turnSinceMs = startMs
      setImmediate(() => {
        this.#turnSinceMs = undefined
      })
    }
    this.#isRunning = true
    try {
      return work()
    } finally {
      this.#isRunning = false
      const counts = this.#counts
      counts.longestPieceMs = Math.max(counts.longestPieceMs, this.#clock.monotonicMs() - startMs)
    }
  }

  /** Has it run when it is due; it throws nothing. Returns what takes it back. */
  add(dueMs: number, run: () => void): () => void {
    const waiting: Waiting = { dueMs, number: this.#count++, run }
    this.#push(waiting)
    this.#size++
    this.#schedule()
    return () => {
      if (waiting.run) this.#size--
      waiting.run = undefined
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#heap.length === 0) return
    this.#isScheduled = true
    if (this.#isTurnOver) setImmediate(this.#runNext)
    else queueMicrotask(this.#runSoon)
  }

  /** Whoever waited for the last piece goes on first, and what he needs next may be due before all others. */
  readonly #runSoon = (): void => process.nextTick(this.#runNext)

  readonly #runNext = (): void => {
    this.#isScheduled = false
    const next = this.#pop()
    if (next?.run) {
      const { run } = next
      next.run = undefined
      this.#size--
      this.run(run)
    }
    this.#schedule()
  }

  #push(waiting: Waiting): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(waiting)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent]!, waiting)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = waiting
  }

  #pop(): Waiting | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (!last || last === first) return first
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (isBefore(last, heap[child]!)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Waiting, b: Waiting): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number)
}

/** Waiting for the moment at which something may be told: chain and mempool known together. */
import { Bell } from '../concurrency.ts'
import { PeerFault } from '../errors.ts'
import type { Clock } from '../world.ts'

const LIMITS = {
  /** How long an answer waits for the block that bitcoind has and we are connecting, or for the mempool after a reorg. */
  waitMs: 5_000,
}

export class Settling {
  readonly #index: { readonly isSettled: boolean }
  readonly #clock: Clock
  readonly #bell = new Bell()

  constructor(index: { readonly isSettled: boolean }, clock: Clock) {
    this.#index = index
    this.#clock = clock
  }

  get isSettled(): boolean {
    return this.#index.isSettled
  }

  /** Blocks or settledness have changed. */
  moved(): void {
    this.#bell.ring()
  }

  /** Throws PeerFault when it takes too long. */
  async settled(): Promise<void> {
    if (await this.until(() => this.#index.isSettled)) return
    throw new PeerFault('not_synced', 'not synced: the mempool is being read')
  }

  /** Waits for something that blocks or the mempool bring; returns whether it is so. */
  async until(isTrue: () => boolean): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + LIMITS.waitMs
    while (!isTrue()) {
      const leftMs = endMs - this.#clock.monotonicMs()
      if (leftMs <= 0) return false
      await this.#bell.wait(leftMs)
    }
    return true
  }
}

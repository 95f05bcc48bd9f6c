/** A wake-up that is never lost: ringing with nobody waiting makes the next wait return at once. */
import { after } from './world.ts'

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

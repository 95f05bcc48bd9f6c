/**
 * What Tor tells, unasked, of our onion service's descriptor and of its own clock, as far as it, or a filter before its
 * control port, lets us listen. Sources: control-spec 4.1.25 (HS_DESC) and 4.1.10 (STATUS_GENERAL CLOCK_SKEW).
 */
import type { TorControl } from './control.ts'
import { TorRefusal } from './refusals.ts'

const LIMITS = {
  /** Other services of this Tor whose uploads are kept until our own name is known: milliseconds, so there are few. */
  seenMax: 100,
  /** Refusals of a first upload that are waited for before it counts as refused; there are up to 16 directories. */
  rejectionsMax: 4,
}

/** What became of uploads, by service: until ours is known all are kept, and then no other. */
export class Uploads {
  readonly #uploaded: () => void
  #seen: [id: string, action: string][] = []
  #awaited: { id: string; resolve: (isTaken: boolean) => void } | undefined
  #rejections = 0
  /** By how much the clock of Tor's machine is ahead of the network's, in seconds; undefined where Tor has not said so. */
  skewS: number | undefined
  /** Called whenever Tor says so. */
  onSkew: () => void = () => {}

  /** `uploaded`: called at each of the service awaited. */
  constructor(uploaded: () => void) {
    this.#uploaded = uploaded
  }

  /** Begins to listen. Resolves with what was refused where uploads are not to be seen. */
  async listen(control: TorControl): Promise<TorRefusal | undefined> {
    for (const events of [['HS_DESC', 'STATUS_GENERAL'], ['HS_DESC']]) {
      try {
        await control.subscribe(events, (line) => this.#note(line))
        return undefined
      } catch (error) {
        if (!(error instanceof TorRefusal)) throw error
        if (events.length === 1) return error
      }
    }
    return undefined
  }

  /** Resolves with true at the first upload of the service, with false when directory after directory has refused it. */
  of(id: string): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#awaited = { id, resolve }
    for (const [other, action] of this.#seen) this.#take(other, action)
    this.#seen = []
    return promise
  }

  #note(line: string): void {
    const skew = /^STATUS_GENERAL \S+ CLOCK_SKEW .*\bSKEW=(-?\d{1,9})\b/.exec(line)?.[1]
    if (skew !== undefined) {
      this.skewS = Number(skew)
      this.onSkew()
    }
    const [, action, id] =
      /^HS_DESC (UPLOADED) (\S+) /.exec(line) ?? /^HS_DESC (FAILED) (\S+) .*\bREASON=UPLOAD_REJECTED\b/.exec(line) ?? []
    if (id === undefined || action === undefined) return
    if (this.#awaited) this.#take(id, action)
    else if (this.#seen.length < LIMITS.seenMax) this.#seen.push([id, action])
  }

  #take(id: string, action: string): void {
    if (id !== this.#awaited?.id) return
    if (action === 'UPLOADED') {
      this.#uploaded()
      this.#awaited.resolve(true)
    } else if (++this.#rejections >= LIMITS.rejectionsMax) this.#awaited.resolve(false)
  }
}

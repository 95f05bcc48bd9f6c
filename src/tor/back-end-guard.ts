/**
 * Ours of the guard: a process of its own (back-end-guard-process.ts) that takes our service from Tor when this process is
 * gone or stands still. A service that SETCONF made outlives who made it, and Tor would lead people to nobody. The guard
 * hears from us as long as our loop turns, and needs no answer of ours to act.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { extname } from 'node:path'
import { every } from '../world.ts'
import type { TorPort } from './address.ts'
import type { ControlOptions } from './control.ts'

export const GUARD_LIMITS = {
  /** How often it hears from us. */
  beatMs: 1_000,
  /**
   * So many seconds without a word are a process that stands still. A statement of SQLite or a collection of garbage takes
   * one or two at the most; whoever is led to us meanwhile waits.
   */
  silentS: 10,
  /** How long it tries to tell Tor once we are gone; a Tor that is away has no such service when it comes back. */
  triesMs: 60_000,
  /** Between two tries. */
  pauseMs: 500,
  /** It holds a connection at the most: the least that Node runs well in. */
  heapMb: 16,
}

/** What it is told first, as one line of JSON on its standard input; each further byte says that we are well. */
export interface GuardOrder {
  control: TorPort
  password: string | undefined
  cookieFile: string | undefined
  dir: string
}

export class BackEndGuard implements Disposable {
  readonly #child: ChildProcess
  readonly #quiet: () => void
  /** Resolves when it has ended, which it does not by itself while we live. */
  readonly ended: Promise<void>

  constructor({ control, password, cookieFile }: ControlOptions, dir: string) {
    const script = new URL(`./back-end-guard-process${extname(import.meta.url)}`, import.meta.url).pathname
    const flags = [`--max-old-space-size=${GUARD_LIMITS.heapMb}`, '--max-semi-space-size=1']
    // No environment: it may hold passwords. A group of its own: what stops ours must not stop the guard.
    this.#child = spawn(process.execPath, [...flags, script], {
      env: {},
      detached: true,
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', () => resolve())
      this.#child.once('error', () => resolve()) // it did not start
    })
    this.#child.unref()
    const order: GuardOrder = { control, password: password?.reveal(), cookieFile, dir }
    const line = this.#child.stdin!
    line.on('error', () => {}) // it has ended, which `ended` says
    line.write(`${JSON.stringify(order)}\n`)
    this.#quiet = every(GUARD_LIMITS.beatMs, () => line.write('.'))
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** It looks whether Tor still has our service, takes it away if so, and ends. */
  [Symbol.dispose](): void {
    this.#quiet()
    this.#child.stdin!.destroy()
  }
}

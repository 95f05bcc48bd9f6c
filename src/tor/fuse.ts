/**
 * A connection to Tor's control port that ends by itself: it runs through a child process (fuse-process.ts), which cuts it
 * when its time is up. What was added to Tor over it then ends too, even if this process is frozen or hangs.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import { extname } from 'node:path'
import { raceAbort } from '../concurrency.ts'
import type { TorPort } from './address.ts'
import type { ControlLine } from './control.ts'
import { FUSE_LINE, type FuseAnswer, type FuseOrder } from './fuse-words.ts'

const LIMITS = {
  /** It holds two sockets: the least that Node runs well in. */
  heapMb: 16,
}

export class Fuse implements AsyncDisposable {
  readonly #child: ChildProcess
  /** Resolves when the process has ended, and the connection to Tor with it. */
  readonly ended: Promise<void>

  constructor() {
    const script = new URL(`./fuse-process${extname(import.meta.url)}`, import.meta.url)
    this.#child = fork(script, [], {
      // No environment: it may hold passwords. A group of its own: what stops ours (Ctrl-Z) must not stop the fuse.
      env: {},
      detached: true,
      execArgv: [`--max-old-space-size=${LIMITS.heapMb}`, '--max-semi-space-size=1'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc', 'pipe'],
    })
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', () => resolve())
      this.#child.once('error', () => resolve()) // it did not start
    })
    this.#child.on('error', () => {}) // `ended` says so
    this.#line.on('error', () => {}) // cut with bytes on their way: its `close` says so
  }

  get #line(): Socket {
    return this.#child.stdio[FUSE_LINE] as Socket
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Connects it to Tor until `untilMs`, as `machineMs` counts. Rejects when that can't be done, or `signal` fires. */
  async open(control: TorPort, untilMs: number, signal: AbortSignal): Promise<ControlLine> {
    const answered = new Promise<FuseAnswer>((resolve, reject) => {
      this.#child.once('message', (answer: FuseAnswer) => resolve(answer))
      this.#child.once('error', reject)
      void this.ended.then(() => reject(new Error('no connection in time')))
    })
    this.#say({ kind: 'open', control, untilMs })
    const answer = await raceAbort(answered, signal)
    if (answer.kind === 'failed') throw new Error(answer.message)
    return { socket: this.#line, localHost: answer.localHost }
  }

  /** Not cut before `untilMs`, as `machineMs` counts. Nothing where it is cut already. */
  renew(untilMs: number): void {
    this.#say({ kind: 'renew', untilMs })
  }

  #say(order: FuseOrder): void {
    if (this.#child.connected) this.#child.send(order, () => {}) // gone meanwhile: `ended` says so
  }

  /** Cuts the connection; it is closed when this resolves. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

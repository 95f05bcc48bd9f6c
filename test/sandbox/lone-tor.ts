/** One real Tor with a torrc of the test's own, and without a network: for its ports, its locks and its refusals. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '../support/temp-dir.ts'
import { freePorts } from './ports.ts'
import { waitUntil } from './wait.ts'

/** A Tor that reaches nothing (its way out is a proxy that is not there), with ports of its own and whatever else `lines` say. */
export class LoneTor implements AsyncDisposable {
  readonly #dir = tempDir()
  readonly socksPort: number
  readonly controlPort: number
  readonly #deadPort: number
  #process: ChildProcess | undefined

  private constructor([socksPort, controlPort, deadPort]: readonly number[]) {
    this.#deadPort = deadPort!
    this.socksPort = socksPort!
    this.controlPort = controlPort!
  }

  static async at(): Promise<LoneTor> {
    return new LoneTor(await freePorts(3))
  }

  /** Of its own, for sockets among others. */
  get dir(): string {
    return this.#dir.path
  }

  get torrc(): string {
    return join(this.#dir.path, 'torrc')
  }

  get cookieFile(): string {
    return join(this.#dir.path, 'data', 'control_auth_cookie')
  }

  get flags(): string[] {
    return ['--socks-port', String(this.socksPort), '--control-port', String(this.controlPort)]
  }

  /** Starts it with these lines; waits until it listens. */
  async start(lines: readonly string[]): Promise<void> {
    const own = [
      `DataDirectory ${join(this.#dir.path, 'data')}`,
      `Socks5Proxy 127.0.0.1:${this.#deadPort}`,
      'Log notice stdout',
    ]
    writeFileSync(this.torrc, `${[...own, ...lines].join('\n')}\n`)
    writeFileSync(join(this.#dir.path, 'empty'), '')
    const args = ['--defaults-torrc', join(this.#dir.path, 'empty'), '-f', this.torrc]
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'tor', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
    })
    this.#process = child
    let log = ''
    child.stdout.on('data', (chunk) => {
      log += chunk
    })
    await waitUntil('Tor has read its torrc', () => {
      if (child.exitCode !== null) throw new Error(`Tor ended: ${log}`)
      return log.includes('Bootstrapped 0%')
    })
  }

  async stop(): Promise<void> {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.#dir[Symbol.dispose]()
  }
}

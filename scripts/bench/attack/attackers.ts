/** The attackers' process, as the bench has it: launched, in place, stopped. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Attack, Target } from './attack.ts'

const PROGRAM = new URL('./attacker.ts', import.meta.url).pathname
/** What they need until they are in place; a thousand streams through Tor take their time. */
const LAUNCH_MS = 240_000

export class Attackers implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #lines: Interface

  private constructor(process: ChildProcess) {
    this.#process = process
    this.#lines = createInterface({ input: process.stdout! })
  }

  /** Resolves when they are in place. */
  static async launch({ number }: Attack, target: Target): Promise<Attackers> {
    // They take what the others leave of the machine, as if they were elsewhere; and end with us, however we end.
    const command = ['setpriv', '--pdeathsig', 'KILL', 'nice', '-n', '10', process.execPath, PROGRAM]
    const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
    const attackers = new Attackers(child)
    child.stdin.write(`${JSON.stringify({ number, target })}\n`)
    await attackers.#line()
    return attackers
  }

  /** What they have counted. */
  async stop(): Promise<Readonly<Record<string, number>>> {
    this.#process.stdin!.end()
    return JSON.parse(await this.#line()).tally
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the attackers are not in place')), LAUNCH_MS)
      this.#lines.once('line', (line) => {
        clearTimeout(timer)
        resolve(line)
      })
      this.#process.once('exit', (code, signal) => {
        clearTimeout(timer)
        reject(new Error(`the attackers ended with ${code ?? signal}`))
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.kill('SIGKILL')
    await exited
  }
}

/** Onionbalance, as Debian has it, on a private Tor network: a key, the address it spreads, and the program. */
import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type HostPort, onionHostOf } from '../../src/tor/address.ts'
import { tempDir } from '../support/temp-dir.ts'

const PROGRAM = new URL('./onionbalance-small.py', import.meta.url).pathname

/** For a network with an hour between two votes (`votingIntervalS: 3_600`). */
export class Balancer implements AsyncDisposable {
  /** What clients know. */
  readonly onionHost: string
  readonly #dir = tempDir()
  #process: ChildProcess | undefined
  log = ''

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    this.onionHost = onionHostOf(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32))
    writeFileSync(join(this.#dir.path, 'front.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  }

  /** Starts it beside the Tor of `control`, which lets us in by its cookie. */
  start(control: HostPort, backEnds: readonly string[]): void {
    const { ONIONBALANCE_PYTHON: python, ONIONBALANCE_PACKAGES: packages = '' } = process.env
    if (python === undefined) throw new Error('ONIONBALANCE_PYTHON is not set: run scripts/test.sh, which brings it')
    const config = join(this.#dir.path, 'config.yaml')
    const instances = backEnds.map((address) => `  - address: ${address}\n`).join('')
    writeFileSync(config, `services:\n- key: front.key\n  instances:\n${instances}`)
    const args = ['-c', config, '-i', control.host, '-p', String(control.port), '-s', '/nonexistent', '-v', 'info']
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', python, PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...(packages !== '' && { PYTHONPATH: packages }) },
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        this.log += chunk
      })
    }
    this.#process = child
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.#dir[Symbol.dispose]()
  }
}

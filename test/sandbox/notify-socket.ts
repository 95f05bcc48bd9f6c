/**
 * The service manager's end of sd_notify(3): a Unix datagram socket that takes messages and closes the descriptors that
 * come with them (which is how the manager says that it has read them). Python, because Node has no such sockets.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const RECEIVER = `
import json, os, socket, sys
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print(json.dumps([]), flush=True)
while True:
    message, fds, _, _ = socket.recv_fds(receiver, 65536, 8)
    for fd in fds: os.close(fd)
    print(json.dumps(message.decode().splitlines()), flush=True)
`

export class NotifySocket implements AsyncDisposable {
  readonly path: string
  /** Every assignment received, in order: READY=1, STATUS=… */
  readonly said: string[] = []
  readonly #dir: string
  readonly #process: ChildProcess

  private constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), 'ft-notify-'))
    this.path = join(this.#dir, 'notify')
    this.#process = spawn('setpriv', ['--pdeathsig', 'KILL', 'python3', '-u', '-c', RECEIVER, this.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let rest = ''
    this.#process.stdout!.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.said.push(...JSON.parse(line))
    })
  }

  static async open(): Promise<NotifySocket> {
    const socket = new NotifySocket()
    await once(socket.#process.stdout!, 'data')
    return socket
  }

  /** How often `assignment` was received. */
  count(assignment: string): number {
    return this.said.filter((said) => said === assignment).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

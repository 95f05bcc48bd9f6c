/**
 * A real journald with a journal of its own, in user and mount namespaces of its own: the system's, if there is one, sees
 * and keeps nothing of it.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { waitUntil } from './wait.ts'

const NAMESPACES = ['--user', '--map-root-user', '--mount']

/** Nothing of /run and /var/log is the system's in there. */
const EMPTY = 'mount -t tmpfs none /run && mount -t tmpfs none /var/log'
const JOURNALD = `${EMPTY} && exec systemd-journald`

/** A program with its output in the journal, and told so as a service manager tells it. */
const IN_JOURNAL = 'export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/$$/fd/1); exec "$@"'

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/lib/systemd` }

export interface JournalEntry {
  PRIORITY: string
  MESSAGE: string
  _PID: string
}

export class Journal implements AsyncDisposable {
  readonly #process: ChildProcess

  private constructor() {
    this.#process = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...NAMESPACES, 'sh', '-c', JOURNALD], {
      stdio: 'ignore',
      env,
    })
  }

  /** Undefined where this machine allows it; containers often don't. */
  static whyNot(): string | undefined {
    const { status, stderr } = spawnSync('unshare', [...NAMESPACES, 'sh', '-c', EMPTY], { encoding: 'utf8' })
    return status === 0 ? undefined : `no namespaces here: ${stderr.trim()}`
  }

  static async open(): Promise<Journal> {
    const journal = new Journal()
    const socket = `/proc/${journal.#process.pid}/root/run/systemd/journal/stdout`
    await waitUntil('journald listens', () => {
      if (journal.#process.exitCode !== null) throw new Error(`journald ended with ${journal.#process.exitCode}`)
      return existsSync(socket)
    })
    return journal
  }

  get #inside(): string[] {
    return ['-t', String(this.#process.pid), '--user', '--mount', '--preserve-credentials']
  }

  /** Starts a command whose output goes to the journal; it keeps the child's pid. */
  start(command: readonly string[]): ChildProcess {
    const inJournal = ['systemd-cat', 'sh', '-c', IN_JOURNAL, 'sh', ...command]
    return spawn('setpriv', ['--pdeathsig', 'KILL', 'nsenter', ...this.#inside, ...inJournal], { stdio: 'ignore', env })
  }

  /** What `journalctl` finds of a process, with further options. */
  entries(pid: number, ...options: string[]): JournalEntry[] {
    const args = [...this.#inside, 'journalctl', '--no-pager', '-o', 'json', ...options, `_PID=${pid}`]
    const text = execFileSync('nsenter', args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore'] })
    return text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }
}

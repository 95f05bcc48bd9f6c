/** A private Tor network on loopback (scripts/tor-testnet.sh), and its clients one by one. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type HostPort, parseHostPort } from '../../src/tor/address.ts'
import { freePortRun } from './ports.ts'
import { waitUntil } from './wait.ts'

const SCRIPT = new URL('../../scripts/tor-testnet.sh', import.meta.url).pathname

/** How many ports the script takes: two of the authority, one of each relay, two of each client. */
const portsOf = (clients: number, relays: number) => 2 + relays + 2 * clients

export interface TorClient {
  socks: HostPort
  control: HostPort
  cookieFile: string
  password: string
}

export class TorNetwork implements AsyncDisposable {
  readonly clients: readonly TorClient[]
  readonly #dir: string
  /** By client: the last one. */
  readonly #restarted = new Map<number, ChildProcess>()

  private constructor(dir: string, clients: readonly TorClient[]) {
    this.#dir = dir
    this.clients = clients
  }

  /** Starts it and waits until an onion service answers (about ten seconds). */
  static async start({
    clients = 2,
    relays = 4,
    extraTorrc = '',
    votingIntervalS = 1_800,
    /** A command before it: in which network it is, where that isn't this machine's. */
    before = [] as readonly string[],
  } = {}): Promise<TorNetwork> {
    const dir = mkdtempSync(join(tmpdir(), 'ft-tor-'))
    const base = await freePortRun(portsOf(clients, relays))
    process.on('exit', () => stop(dir))
    const [program, ...args] = [...before, SCRIPT, 'start', dir]
    const child = spawn(program!, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        TT_BASE: String(base),
        TT_CLIENTS: String(clients),
        TT_RELAYS: String(relays),
        TT_EXTRA_CLIENT: extraTorrc,
        TT_VOTE: String(votingIntervalS),
      },
    })
    let out = ''
    let log = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    child.stderr.on('data', (chunk) => {
      log += chunk
    })
    const [code] = await once(child, 'exit')
    if (code !== 0) {
      rmSync(dir, { recursive: true, force: true })
      throw new Error(`the private Tor network did not start:\n${log}`)
    }
    const found = out
      .trim()
      .split('\n')
      .map((line): TorClient => {
        const [, socks, control, cookieFile] = /socks=(\S+) control=(\S+) cookie=(\S+)/.exec(line)!
        return {
          socks: parseHostPort(socks!)!,
          control: parseHostPort(control!)!,
          cookieFile: cookieFile!,
          password: 'testnet',
        }
      })
    return new TorNetwork(dir, found)
  }

  /** The command line of one more client that others start. */
  get clientArgs(): string[] {
    const authorities = readFileSync(join(this.#dir, 'dirauthorities'), 'utf8').trim().split('\n')
    const lines = ['TestingTorNetwork 1', 'PathsNeededToBuildCircuits 0.67', ...authorities]
    return lines.flatMap((line) => {
      const space = line.indexOf(' ')
      return [`--${line.slice(0, space)}`, line.slice(space + 1)]
    })
  }

  /** Ends a client's Tor, as a crash would. */
  async kill(index: number): Promise<void> {
    const pid = this.pid(index)
    process.kill(pid, 'SIGKILL')
    await waitUntil('Tor is gone', () => !isAlive(pid))
  }

  /** Starts it again with its own torrc, and with a clock that is wrong by so much. */
  restart(index: number, { clockOffsetS = 0 } = {}): void {
    const dir = join(this.#dir, `client${index}`)
    const args = ['--hush', '--defaults-torrc', join(this.#dir, 'empty'), '-f', join(dir, 'torrc')]
    // The kernel ends it with us, however we end.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'tor', ...args], {
      stdio: 'ignore',
      env: {
        ...process.env,
        PATH: `${process.env.PATH}:/usr/sbin`,
        ...(clockOffsetS !== 0 && clockWrongBy(clockOffsetS)),
      },
    })
    this.#restarted.set(index, child)
  }

  /** Of a client's Tor: the last that was started. */
  pid(index: number): number {
    return this.#restarted.get(index)?.pid ?? this.#pidOf(`client${index}`)
  }

  /** The last lines of a client's log. */
  notices(index: number): string {
    return readFileSync(join(this.#dir, `client${index}`, 'notice.log'), 'utf8')
      .split('\n')
      .slice(-12)
      .join('\n')
  }

  /** Holds still, until it is disposed of: one client's Tor, or whatever else the network consists of. */
  freeze(what: number | 'relays'): Disposable {
    const relays = () => readdirSync(this.#dir).filter((name) => /^(auth|relay)\d+$/.test(name))
    const pids = what === 'relays' ? relays().map((name) => this.#pidOf(name)) : [this.pid(what)]
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    return {
      [Symbol.dispose]() {
        for (const pid of pids) process.kill(pid, 'SIGCONT')
      },
    }
  }

  /** As the script started it. */
  #pidOf(name: string): number {
    return Number(readFileSync(join(this.#dir, name, 'pid'), 'utf8').split(' ')[0])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#restarted.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    stop(this.#dir)
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** Of a process's environment. */
function clockWrongBy(offsetS: number): NodeJS.ProcessEnv {
  const library = process.env.FAKETIME_LIBRARY
  if (library === undefined) throw new Error('FAKETIME_LIBRARY is not set: run scripts/test.sh, which brings it')
  return { LD_PRELOAD: library, FAKETIME: `${offsetS < 0 ? '' : '+'}${offsetS}` }
}

function stop(dir: string): void {
  execFileSync(SCRIPT, ['stop', dir], { stdio: 'ignore' })
}

/** Until the last of its threads has ended, too: they hold its ports and its lock. */
function isAlive(pid: number): boolean {
  try {
    const isZombie = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.startsWith('Z') === true
    return !isZombie || readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false
  }
}

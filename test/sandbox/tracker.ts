/** The daemon under test: the real program, started as its user would, and asked as its users would. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { BUCKETS, packBlock, SEGMENT_BLOCKS, segmentOf, unpackSegment } from '../../src/store/local/packed-keys.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { lastStatus } from '../../src/views/closed.ts'
import type { StatusRow } from '../../src/views/schemas/status.ts'
import { ask } from '../../src/wire/client.ts'
import type { Reply, Request } from '../../src/wire/messages.ts'
import { freePorts } from './ports.ts'
import type { Regtest } from './regtest.ts'
import { type Ended, toItsEnd } from './to-its-end.ts'
import { waitUntil } from './wait.ts'

export const MAIN = new URL('../../dist/main.js', import.meta.url).pathname

export interface TrackerOptions {
  dataDir?: string
  /** Flags after `start`, besides network, node, data directory and address. */
  args?: string[]
  env?: NodeJS.ProcessEnv
  port?: number
  /** Its address on this machine; others than 127.0.0.1 are for trackers that have to listen at the same port. */
  host?: string
  /** Where it finds bitcoind: at the node itself, or at something that stands before it. */
  via?: { rpcPort: number }
  /** True: with its HTTP server, on a free port. */
  http?: boolean
  /** True: with its Nostr relay, on a free port; `unsaid`: as it is where nobody says anything of it. */
  nostr?: boolean | 'unsaid'
  /** False: no --cookie-file; `args` or `env` have the credentials. */
  cookie?: boolean
  /** Another build of the program than ours: the path of its main.js. */
  main?: string
  /** Another Node than the test's: its path. */
  node?: string
}

/** A log line, as JSON. */
export interface LogLine {
  msg: string
  level: number
  [field: string]: unknown
}

export class Tracker implements AsyncDisposable {
  readonly dataDir: string
  readonly port: number
  readonly #host: string
  /** Of the HTTP server; undefined without one. */
  readonly httpPort: number | undefined
  /** Of the Nostr relay; undefined without one. */
  readonly nostrPort: number | undefined
  readonly log: LogLine[] = []
  /** What it wrote that is no log line: its last words. */
  stderr = ''
  readonly #ownsDir: boolean
  readonly #command: string[]
  readonly #flags: string[]
  readonly #env: NodeJS.ProcessEnv
  #process!: ChildProcess

  private constructor(
    dataDir: string,
    ownsDir: boolean,
    ports: { host: string; port: number; httpPort: number | undefined; nostrPort: number | undefined },
    command: string[],
    flags: string[],
    env: NodeJS.ProcessEnv,
  ) {
    this.dataDir = dataDir
    this.#ownsDir = ownsDir
    this.#host = ports.host
    this.port = ports.port
    this.httpPort = ports.httpPort
    this.nostrPort = ports.nostrPort
    this.#command = command
    this.#flags = flags
    this.#env = env
  }

  /** Starts `fidelity-tracker start` without Tor (unless `args` say else) and returns at once. */
  static async start(node: Regtest, options: TrackerOptions = {}): Promise<Tracker> {
    const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'ft-data-'))
    const { host = '127.0.0.1' } = options
    const port = options.port ?? (await freePorts(1))[0]!
    const httpPort = options.http ? (await freePorts(1))[0]! : undefined
    const nostrPort = options.nostr === true ? (await freePorts(1))[0]! : undefined
    const flags = [
      ...['--network', 'regtest', '--rpc', `127.0.0.1:${(options.via ?? node).rpcPort}`],
      ...(options.cookie === false ? [] : ['--cookie-file', node.cookieFile]),
      ...['--datadir', dataDir, '--address', `${host}:${port}`],
      ...['--http', httpPort === undefined ? 'off' : `127.0.0.1:${httpPort}`],
      ...(options.nostr === 'unsaid' ? [] : ['--nostr', nostrPort === undefined ? 'off' : `127.0.0.1:${nostrPort}`]),
      ...(options.args ?? ['--no-tor', '--allow-test-addresses']),
    ]
    const tracker = new Tracker(
      dataDir,
      options.dataDir === undefined,
      { host, port, httpPort, nostrPort },
      [options.node ?? process.execPath, options.main ?? MAIN],
      flags,
      options.env ?? {},
    )
    tracker.launch()
    return tracker
  }

  /** Starts the program (again). */
  launch(): void {
    // The kernel ends it with us, however we end.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...this.#command, 'start', ...this.#flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#env },
    })
    this.#process = child
    let rest = ''
    child.stdout!.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.log.push(JSON.parse(line))
    })
    child.stderr!.on('data', (chunk) => {
      this.stderr += chunk
    })
  }

  get pid(): number {
    return this.#process.pid!
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** Sends a signal and waits for the end; returns exit code or signal. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    if (this.isRunning) this.#process.kill(signal)
    return this.exited()
  }

  async exited(): Promise<number | NodeJS.Signals> {
    if (this.isRunning) await once(this.#process, 'exit')
    return this.#process.exitCode ?? this.#process.signalCode!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL')
    if (this.#ownsDir) rmSync(this.dataDir, { recursive: true, force: true })
  }

  connect(): Promise<Socket> {
    const socket = connect({ host: this.#host, port: this.port, noDelay: true })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        socket.on('error', () => {})
        resolve(socket)
      })
    })
  }

  /** One request on a connection of its own. */
  async ask<T extends Reply['type']>(request: Request, expected: T): Promise<Extract<Reply, { type: T }>> {
    const socket = await this.connect()
    try {
      const reply = await ask(socket, request, { timeoutMs: 20_000 })
      if (reply.type !== expected) throw new Error(`expected ${expected}, got ${JSON.stringify(reply)}`)
      return reply as Extract<Reply, { type: T }>
    } finally {
      socket.destroy()
    }
  }

  async addresses(): Promise<readonly string[]> {
    return (await this.ask({ type: 'Get' }, 'Address')).addresses
  }

  /** Waits until it says that it is synced with the node's tip. */
  async caughtUp(node: Regtest): Promise<void> {
    await waitUntil('the tracker is at the node’s tip', async () => {
      if (!this.isRunning) throw new Error(`the tracker has ended: ${this.stderr}${JSON.stringify(this.log.slice(-3))}`)
      const status = await this.ask({ type: 'Status' }, 'Status').catch(() => undefined)
      return status?.synced === true && status.blockHash === (await node.tipHash())
    })
  }

  /** What it last stored of itself. */
  status(): StatusRow | undefined {
    using db = openStoreReadonly(this.dataDir)
    return lastStatus(db)
  }

  logged(msg: string): LogLine | undefined {
    return this.log.find((line) => line.msg === msg)
  }

  /** Waits for a log line after the first `after` ones. */
  said(msg: string, after = 0): Promise<LogLine> {
    return waitUntil(`the log says “${msg}”`, () => this.log.slice(after).find((line) => line.msg === msg))
  }

  /** All rows of the tables that the chain alone determines (at the same key salt). */
  chainRows(): Record<string, unknown[]> {
    return chainRows(this.dataDir)
  }
}

/** `SELECT *` of the chain's tables, in key order, blobs as hex. */
export function chainRows(dataDir: string): Record<string, unknown[]> {
  const db = new Database(join(dataDir, 'tracker.sqlite'), { readonly: true })
  try {
    const rows = (query: string) => (db.prepare(query).all() as Record<string, unknown>[]).map(plain)
    return {
      blocks: rows('SELECT * FROM blocks ORDER BY height'),
      bonds: rows('SELECT * FROM bonds ORDER BY txid, vout'),
      spends: rows(
        `SELECT s.txid, s.vout, s.spender_txid, s.vin, t.raw_tx, t.height FROM spends s
         JOIN spenders t ON t.txid = s.spender_txid WHERE t.height IS NOT NULL ORDER BY s.txid, s.vout, s.spender_txid`,
      ),
      spent_keys: spentKeys(db),
    }
  } finally {
    db.close()
  }
}

/** Of each indexed block its keys, whichever way they are kept. */
function spentKeys(db: Database.Database): [height: number, keys: string][] {
  const blocks = db.prepare('SELECT height, keys FROM indexed_blocks ORDER BY height').all()
  const segments = new Map<number, { bucket: number; row: Buffer }[]>()
  for (const { id, keys: row } of db.prepare('SELECT id, keys FROM spent_keys ORDER BY id').all() as {
    id: number
    keys: Buffer
  }[]) {
    const segment = Math.floor(id / BUCKETS)
    const rows = segments.get(segment) ?? []
    segments.set(segment, [...rows, { bucket: id % BUCKETS, row }])
  }
  const unpacked = new Map([...segments].map(([segment, rows]) => [segment, unpackSegment(rows)]))
  return (blocks as { height: number; keys: Buffer | null }[]).map(({ height, keys }) => {
    const packed = unpacked.get(segmentOf(height))?.[height % SEGMENT_BLOCKS] ?? new Uint32Array()
    return [height, (keys ?? packBlock(packed)).toString('hex')]
  })
}

function plain(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString('hex') : value]),
  )
}

/** Runs a verb to its end. `before`: a command in front of it. */
export async function runVerb(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  before: readonly string[] = [],
): Promise<Ended> {
  return toItsEnd([...before, process.execPath, MAIN, ...args], env)
}

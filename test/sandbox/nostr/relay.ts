/**
 * A Nostr relay written by others (@nostr-relay/core) in a process of its own: what the public relays are to the market. It
 * can be killed and started again on its port, with or without what it had, and told to refuse, to be slow or silent, to
 * lose events, and to hold ones that it would never have taken. It ends with the process that started it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../ports.ts'
import type { SignedEvent } from './signed-event.ts'

const SCRIPT = new URL('./relay-process.ts', import.meta.url).pathname

/** How it treats its clients; what is left out is as usual. */
export interface RelayConduct {
  /** Every EVENT gets `["OK", id, false, this]`, such as `rate-limited: slow down`. */
  refuse?: string
  /** Every REQ gets `["CLOSED", id, this]`, such as `auth-required: who are you`. */
  refuseReq?: string
  /** Events of this kind are neither taken nor given. */
  refuseKind?: number
  /** Frames at the head of every connection, such as `["AUTH","challenge"]` or a NOTICE. */
  greetings?: string[]
  /** Before it looks at a message. */
  delayMs?: number
  /** It reads and never answers. */
  isSilent?: boolean
  /** Its NIP-11 document. */
  information?: object
}

/** A message from a client. */
export interface Received {
  atMs: number
  text: string
}

/** In PEM: with it, the relay's URL is wss://. */
interface TlsIdentity {
  key: string
  cert: string
}

/** relay-process.ts's argument. */
export interface RelaySetup {
  port: number
  file: string
  tls: TlsIdentity | undefined
}

/** What relay-process.ts is told. */
export type RelayCommand =
  | { do: 'behave'; conduct: RelayConduct }
  | { do: 'store'; events: SignedEvent[] }
  | { do: 'lose'; ids: string[] }
  | { do: 'events' | 'received' }

export class Relay implements AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly #dataDir = mkdtempSync(join(tmpdir(), 'ft-relay-'))
  readonly #setup: RelaySetup
  #process: ChildProcess | undefined
  #commands = 0

  private constructor(port: number, tls: TlsIdentity | undefined) {
    this.port = port
    this.url = `${tls ? 'wss' : 'ws'}://127.0.0.1:${port}`
    this.#setup = { port, file: join(this.#dataDir, 'events.sqlite'), tls }
  }

  /** On a free port of 127.0.0.1. */
  static async start({ tls }: { tls?: TlsIdentity } = {}): Promise<Relay> {
    const relay = new Relay((await freePorts(1))[0]!, tls)
    await relay.launch()
    return relay
  }

  /** Starts it (again), with the events it had and with ordinary conduct; resolves once it listens. */
  async launch(): Promise<void> {
    // The kernel ends it with us, however we end.
    const command = ['--pdeathsig', 'KILL', process.execPath, SCRIPT, JSON.stringify(this.#setup)]
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.#process = child
    const [isListening] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => [])])
    if (isListening === undefined) throw new Error(`the relay did not start: ${this.url}`)
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** After `kill`: the next launch begins with nothing. */
  forgetAll(): void {
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${this.#setup.file}${suffix}`, { force: true })
  }

  /** From now on, in place of what it was told before. */
  async behave(conduct: RelayConduct): Promise<void> {
    await this.#tell({ do: 'behave', conduct })
  }

  /** Puts events in and sends them to subscribers, unchecked: forged, expired, anything that has the shape. */
  async store(...events: SignedEvent[]): Promise<void> {
    await this.#tell({ do: 'store', events })
  }

  async lose(...ids: string[]): Promise<void> {
    await this.#tell({ do: 'lose', ids })
  }

  /** All that it has, newest first. */
  async events(): Promise<SignedEvent[]> {
    return (await this.#tell({ do: 'events' })) as SignedEvent[]
  }

  /** What clients sent since its launch. */
  async received(): Promise<Received[]> {
    return (await this.#tell({ do: 'received' })) as Received[]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.#dataDir, { recursive: true, force: true })
  }

  async #tell(command: RelayCommand): Promise<unknown> {
    const child = this.#process!
    const number = ++this.#commands
    const answered = new Promise((resolve, reject) => {
      const settle = (message: { number: number; result?: unknown }) => {
        if (message.number !== number) return
        child.off('message', settle).off('exit', fail)
        resolve(message.result)
      }
      const fail = () => reject(new Error('the relay has ended'))
      child.on('message', settle).once('exit', fail)
    })
    child.send({ ...command, number })
    return answered
  }
}

/**
 * Tor's control port. The commands are tor-control-ts's (ADD_ONION, GETINFO and whatever else it knows); ours is the
 * transport beneath them, connecting and authentication included: replies are parsed line by line however they are cut,
 * given to their commands in order, and events told apart. Source: Tor's control-spec.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Logger } from 'pino'
import { Tor } from 'tor-control-ts'
import { TransientError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { after, systemClock } from '../world.ts'
import { formatHostPort, formatTorPort, type HostPort, type TorPort } from './address.ts'
import { type Credentials, type Login, logIn } from './login.ts'
import { describeConnectFault } from './port-fault.ts'
import { TorRefusal } from './refusals.ts'

const LIMITS = {
  /** A healthy Tor answers in milliseconds. */
  commandMs: 10_000,
  connectMs: 5_000,
  /** Our longest reply is a list of onion services; what grows beyond this is no control port. */
  replyBytes: 1_048_576,
  /** All that is read before we are let in: three short replies, and a path of 4,096 bytes escaped four to one. */
  loginBytes: 20_000,
  /** Between two replies, which is half a minute at most: each descriptor that Tor fetches is told with up to 50 kB. */
  eventBytes: 16_777_216,
}

declare module 'tor-control-ts' {
  // It has this, and its types lack it.
  interface Tor {
    getInfo(keys: string | string[]): Promise<{ type: number; message: string; data: string }>
  }
}

/** A connection to the control port, open. */
export interface ControlLine {
  socket: Socket
  /** Our own address on it, by which Tor reaches this machine; undefined over a Unix socket. */
  localHost: string | undefined
}

export interface ControlOptions extends Credentials {
  control: TorPort
  /**
   * Opens the connection where it is not made directly. Rejects with the fault of connecting, as `net` words it, or when
   * `signal` fires.
   */
  openLine?: ((control: TorPort, signal: AbortSignal) => Promise<ControlLine>) | undefined
  /** Gets each command at level trace, without what may be secret. */
  log?: Logger
}

/** One reply: `lines` without their codes, data lines unstuffed; `message` is the last one. */
export interface ControlReply {
  type: number
  message: string
  data: string
  lines: string[]
}

interface PendingCommand {
  resolve: (reply: ControlReply) => void
  reject: (error: Error) => void
}

export class TorControl extends Tor implements Disposable {
  readonly #options: ControlOptions
  /** The port, as messages name it. */
  readonly #where: string
  #socket: Socket | undefined
  readonly #opening = new AbortController()
  /** Once we are let in. */
  authenticated: Login | undefined
  /** Our own address on the connection, by which Tor reaches this machine; undefined over a Unix socket. */
  localHost: string | undefined
  #pending: PendingCommand[] = []
  #text = ''
  #replyBytes = 0
  #loginBytes = 0
  #eventBytes = 0
  #lines: string[] = []
  #inData = false
  #isEvent = false
  /** Undefined until events were asked for. */
  #onEvent: ((line: string) => void) | undefined
  /** Why no command can be given any more. */
  #closed: Error | undefined
  /** Resolves when the connection has ended, with the reason. */
  readonly closed: Promise<Error>
  #resolveClosed: (reason: Error) => void

  constructor(options: ControlOptions) {
    super({ host: '', port: 0, password: '' }) // connecting is ours
    this.#options = options
    this.#where = `Tor's control port ${formatTorPort(options.control)} (--control-port)`
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.closed = promise
    this.#resolveClosed = resolve
  }

  /** Connects and authenticates. Throws TransientError (not there, not Tor) or AccessRefused (it doesn't let us in). */
  override async connect(): Promise<void> {
    const { control, openLine = openDirectly } = this.#options
    let line: ControlLine
    try {
      line = await openLine(control, this.#opening.signal)
    } catch (error) {
      if (this.#closed) throw this.#closed // given up meanwhile
      const fault = describeConnectFault(control, error)
      const reason = new TransientError(`${this.#where} is not reachable (is Tor running?): ${fault}`)
      this.#close(reason)
      throw reason
    }
    const { socket } = line
    this.localHost = line.localHost?.replace(/^::ffff:/, '')
    this.#socket = socket
    socket.setEncoding('latin1')
    socket.on('error', (error) =>
      this.#close(new TransientError(`${this.#where}: ${describeConnectFault(control, error)}`)),
    )
    socket.on('close', () => this.#close(new TransientError(`${this.#where} closed the connection`)))
    socket.on('data', (chunk) => this.#feed(String(chunk)))
    try {
      this.authenticated = await logIn((command) => this.must(command), this.#options, {
        port: control,
        where: this.#where,
      })
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** One command, one reply, whatever its code. Rejects with TransientError when the connection ends or is silent. */
  override sendCommand(command: string): Promise<ControlReply> {
    const { log } = this.#options
    const startMs = systemClock.monotonicMs()
    return new Promise((resolve, reject) => {
      const socket = this.#socket
      if (!socket || this.#closed) return reject(this.#closed ?? new TransientError('not connected to Tor'))
      if (/[\r\n]/.test(command)) return reject(new TypeError('a line break in a control command'))
      const verb = command.split(' ', 1)[0]
      const cancel = after(LIMITS.commandMs, () =>
        this.#fail(`no answer to ${verb}; if Tor stands still: sudo systemctl restart tor`),
      )
      this.#pending.push({
        resolve: (reply) => {
          cancel()
          if (log?.isLevelEnabled('trace')) {
            const tookMs = Math.round(systemClock.monotonicMs() - startMs)
            log.trace({ command: nameOf(command), code: reply.type, tookMs }, 'Tor asked')
          }
          resolve(reply)
        },
        reject: (error) => {
          cancel()
          reject(error)
        },
      })
      socket.write(`${command}\r\n`)
    })
  }

  /** A command that must succeed (2xx). Throws TorRefusal. */
  async must(command: string): Promise<ControlReply> {
    return accepted(nameOf(command), await this.sendCommand(command))
  }

  /** The value of one GETINFO key. Throws TorRefusal, or TransientError where the reply is no value of it. */
  async info(key: string): Promise<string> {
    return valueIn(accepted(`GETINFO ${key}`, (await this.getInfo(key)) as ControlReply), key)
  }

  /** The value of one line of torrc, '' where it has none. Throws as `info`. */
  async setting(name: string): Promise<string> {
    const reply = await this.must(`GETCONF ${name}`)
    return reply.message === name ? '' : valueIn(reply, name)
  }

  /**
   * Adds an onion service that lives as long as this connection. `key`: as ADD_ONION takes it (`ED25519-V3:<base64>`);
   * `options`: further arguments, for example `PoWDefensesEnabled=1`. Returns its host name. Throws TorRefusal.
   */
  async addService(key: Secret, virtualPort: number, target: HostPort, options: readonly string[]): Promise<string> {
    const added: Partial<Record<'ServiceID' | 'msg', string>> & { error?: number } = await this.addOnion(
      virtualPort,
      formatHostPort(target),
      [key.reveal(), ...options].join(' '),
    )
    if (added.error !== undefined) {
      throw new TorRefusal('ADD_ONION', added.error, (added.msg ?? '').trim().replace(/^\d{3} /, ''))
    }
    if (added.ServiceID === undefined) throw new TransientError('Tor answered ADD_ONION without a ServiceID')
    return added.ServiceID
  }

  /** Asks for asynchronous events; `onEvent` gets each one's text without its code. */
  async subscribe(events: readonly string[], onEvent: (line: string) => void): Promise<void> {
    this.#onEvent = onEvent
    await this.must(`SETEVENTS ${events.join(' ')}`)
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy()
    this.#close(new TransientError('the control connection was closed by us'))
  }

  #close(reason: Error): void {
    if (this.#closed) return
    this.#closed = reason
    this.#opening.abort(reason)
    for (const { reject } of this.#pending.splice(0)) reject(reason)
    this.#resolveClosed(reason)
  }

  /** Who listens there is no Tor, or no longer of use. */
  #fail(why: string): void {
    this.#close(new TransientError(`${this.#where}: ${why}`))
    this.#socket?.destroy()
  }

  #feed(chunk: string): void {
    if (this.#closed) return
    this.#text += chunk
    this.#replyBytes += chunk.length
    if (!this.authenticated) this.#loginBytes += chunk.length
    if (this.#replyBytes > LIMITS.replyBytes) return this.#fail(`a reply longer than ${LIMITS.replyBytes} bytes`)
    if (this.#loginBytes > LIMITS.loginBytes) {
      return this.#fail(`it does not answer as Tor does: more than ${LIMITS.loginBytes} bytes before the login`)
    }
    let start = 0
    for (let end = this.#text.indexOf('\r\n'); end >= 0; end = this.#text.indexOf('\r\n', start)) {
      this.#line(this.#text.slice(start, end), this.#text.length - end - 2)
      if (this.#closed) return
      start = end + 2
    }
    this.#text = this.#text.slice(start)
  }

  #event(text: string): void {
    this.#eventBytes += text.length + 6
    if (this.#eventBytes > LIMITS.eventBytes) return this.#fail(`more than ${LIMITS.eventBytes} bytes of events`)
    this.#onEvent!(text)
  }

  /** `bytesLeft`: what has come after this line. */
  #line(line: string, bytesLeft: number): void {
    if (this.#inData) {
      if (line === '.') this.#inData = false
      else this.#lines[this.#lines.length - 1] += `\n${line.startsWith('.') ? line.slice(1) : line}`
      return
    }
    const isEvent = line.startsWith('6')
    const isMixed = this.#lines.length > 0 && isEvent !== this.#isEvent
    if (!/^[2-6]\d\d[ +-]/.test(line) || isMixed) return this.#fail('it does not answer as Tor does')
    this.#isEvent = isEvent
    const separator = line[3]
    this.#lines.push(line.slice(4))
    if (separator === '+') this.#inData = true
    if (separator !== ' ') return
    const lines = this.#lines
    this.#lines = []
    this.#replyBytes = bytesLeft
    const type = Number(line.slice(0, 3))
    if (isEvent && this.#onEvent) return this.#event(lines.join('\n'))
    const pending = isEvent ? undefined : this.#pending.shift()
    if (!pending) return this.#fail('it says what nobody asked for, as Tor does not')
    this.#eventBytes = 0
    pending.resolve({ type, message: lines.at(-1)!, data: asReceived(type, lines), lines })
  }
}

async function openDirectly(control: TorPort, signal: AbortSignal): Promise<ControlLine> {
  const socket = connect({ ...control, noDelay: true })
  const cancel = after(LIMITS.connectMs, () => socket.destroy(new Error('no connection in time')))
  const giveUp = () => socket.destroy(new Error('given up'))
  signal.addEventListener('abort', giveUp)
  try {
    await once(socket, 'connect')
  } finally {
    cancel()
    signal.removeEventListener('abort', giveUp)
  }
  return { socket, localHost: socket.localAddress }
}

/** A command without what may be secret. */
function nameOf(command: string): string {
  return /^(?:(?:GETINFO|GETCONF|SETEVENTS|AUTHCHALLENGE) \S+|\S+)/.exec(command)?.[0] ?? ''
}

function accepted(command: string, reply: ControlReply): ControlReply {
  if (reply.type >= 200 && reply.type <= 299) return reply
  throw new TorRefusal(command, reply.type, reply.message)
}

function valueIn({ lines }: ControlReply, key: string): string {
  const [line = ''] = lines
  if (!line.startsWith(`${key}=`)) throw new TransientError(`Tor answered a question about ${key} with something else`)
  return line.slice(key.length + 1).replace(/^\n/, '')
}

/** The reply as inherited commands expect it in `data`. */
function asReceived(type: number, lines: readonly string[]): string {
  return lines.map((line, i) => `${type}${i < lines.length - 1 ? '-' : ' '}${line}\r\n`).join('')
}

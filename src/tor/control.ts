/**
 * Tor's control port. The commands are tor-control-ts's (ADD_ONION, GETINFO and whatever else it knows); ours is the
 * transport beneath them, connecting and authentication included: replies are parsed line by line however they are cut,
 * given to their commands in order, and events told apart. Source: Tor's control-spec.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { Tor } from 'tor-control-ts'
import { z } from 'zod'
import { AccessRefused, describeError, TransientError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { after } from '../world.ts'
import { formatHostPort, type HostPort } from './address.ts'

const LIMITS = {
  /** A healthy Tor answers in milliseconds. */
  commandMs: 10_000,
  connectMs: 5_000,
  /** Our longest reply is a list of onion services; what grows beyond this is no control port. */
  replyBytes: 1_048_576,
}

declare module 'tor-control-ts' {
  // It has this, and its types lack it.
  interface Tor {
    getInfo(keys: string | string[]): Promise<{ type: number; message: string; data: string }>
  }
}

export interface ControlOptions {
  control: HostPort
  password: Secret | undefined
}

/** One reply: `lines` without their codes, data lines unstuffed; `message` is the last one. */
export interface ControlReply {
  type: number
  message: string
  data: string
  lines: string[]
}

/** Tor refused a command. */
export class TorRefusal extends Error {
  override readonly name = 'TorRefusal'
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

interface PendingCommand {
  resolve: (reply: ControlReply) => void
  reject: (error: Error) => void
}

const protocolInfo = z.object({
  methods: z.string().transform((list) => list.split(',')),
  cookieFile: z.string().optional(),
})

const CLIENT_HASH_KEY = 'Tor safe cookie authentication controller-to-server hash'
const SERVER_HASH_KEY = 'Tor safe cookie authentication server-to-controller hash'

export class TorControl extends Tor implements Disposable {
  readonly #options: ControlOptions
  #socket: Socket | undefined
  /** How Tor let us in, once it has: NULL means that it lets in everybody. */
  authenticated: { method: 'NULL' | 'password' | 'cookie'; cookieFile?: string } | undefined
  #pending: PendingCommand[] = []
  #text = ''
  #replyBytes = 0
  #lines: string[] = []
  #inData = false
  #onEvent: (line: string) => void = () => {}
  /** Why no command can be given any more. */
  #closed: Error | undefined
  /** Resolves when the connection has ended, with the reason. */
  readonly closed: Promise<Error>
  #resolveClosed: (reason: Error) => void

  constructor(options: ControlOptions) {
    super({ host: options.control.host, port: options.control.port, password: '' })
    this.#options = options
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.closed = promise
    this.#resolveClosed = resolve
  }

  /** Connects and authenticates. Throws TransientError (not there) or AccessRefused (it doesn't let us in). */
  override async connect(): Promise<void> {
    const { control } = this.#options
    const where = `Tor's control port ${formatHostPort(control)} (--control-port)`
    const socket = connect({ host: control.host, port: control.port, noDelay: true })
    this.#socket = socket
    socket.setEncoding('latin1')
    let isConnected = false
    socket.on('error', (error) => {
      const what = isConnected ? where : `${where} is not reachable (is Tor running?)`
      this.#close(new TransientError(`${what}: ${describeError(error)}`))
    })
    socket.on('close', () => this.#close(new TransientError(`${where} closed the connection`)))
    socket.on('data', (chunk) => this.#feed(String(chunk)))
    const cancel = after(LIMITS.connectMs, () => socket.destroy(new Error('no connection in time')))
    try {
      await once(socket, 'connect')
      isConnected = true
    } catch (error) {
      throw this.#closed ?? error
    } finally {
      cancel()
    }
    await this.#authenticate(where)
  }

  async #authenticate(where: string): Promise<void> {
    const { lines } = await this.must('PROTOCOLINFO 1')
    const auth = lines.find((line) => line.startsWith('AUTH ')) ?? ''
    const quoted = /COOKIEFILE="((?:[^"\\]|\\.)*)"/.exec(auth)?.[1]
    const parsed = protocolInfo.safeParse({
      methods: /METHODS=(\S+)/.exec(auth)?.[1],
      cookieFile: quoted?.replace(/\\(.)/g, '$1'),
    })
    if (!parsed.success) throw new TransientError(`${where} does not answer as Tor does`)
    const { methods, cookieFile } = parsed.data
    const { password } = this.#options
    if (password && methods.includes('HASHEDPASSWORD')) {
      await this.#authenticateWith(quote(password.reveal()), `${where} refuses the password: check --tor-auth-password`)
      this.authenticated = { method: 'password' }
      return
    }
    if (methods.includes('NULL')) {
      await this.#authenticateWith('', `${where} refuses us`)
      this.authenticated = { method: 'NULL' }
      return
    }
    if (cookieFile !== undefined && (methods.includes('SAFECOOKIE') || methods.includes('COOKIE'))) {
      const cookie = await readCookie(where, cookieFile, methods.includes('HASHEDPASSWORD'))
      const proof = methods.includes('SAFECOOKIE') ? await this.#safeCookieProof(cookie) : cookie.toString('hex')
      // A cookie that doesn't fit is one of the Tor before this one: it will be written anew.
      try {
        await this.must(`AUTHENTICATE ${proof}`)
      } catch (error) {
        if (error instanceof TorRefusal) throw new TransientError(`${where} refuses its cookie ${cookieFile}`)
        throw error
      }
      this.authenticated = { method: 'cookie', cookieFile }
      return
    }
    throw new AccessRefused(
      methods.includes('HASHEDPASSWORD')
        ? `${where} wants a password: give --tor-auth-password, or add CookieAuthentication 1 to torrc`
        : `${where} offers no way to authenticate (${methods.join(', ')}): add CookieAuthentication 1 to torrc (see print-torrc)`,
    )
  }

  async #authenticateWith(proof: string, refusal: string): Promise<void> {
    try {
      await this.must(`AUTHENTICATE ${proof}`.trimEnd())
    } catch (error) {
      if (error instanceof TorRefusal) throw new AccessRefused(`${refusal} (${error.message})`)
      throw error
    }
  }

  /** control-spec 3.24: both sides prove that they know the cookie, neither shows it. */
  async #safeCookieProof(cookie: Buffer): Promise<string> {
    const clientNonce = randomBytes(32)
    const { message } = await this.must(`AUTHCHALLENGE SAFECOOKIE ${clientNonce.toString('hex')}`)
    const match = /SERVERHASH=([0-9A-F]{64}) SERVERNONCE=([0-9A-F]{64})/i.exec(message)
    if (!match) throw new TransientError('Tor answered AUTHCHALLENGE with something else')
    const text = Buffer.concat([cookie, clientNonce, Buffer.from(match[2]!, 'hex')])
    const expected = createHmac('sha256', SERVER_HASH_KEY).update(text).digest()
    if (!timingSafeEqual(expected, Buffer.from(match[1]!, 'hex'))) {
      throw new TransientError("who listens on Tor's control port does not know Tor's cookie")
    }
    return createHmac('sha256', CLIENT_HASH_KEY).update(text).digest('hex')
  }

  /** One command, one reply, whatever its code. Rejects with TransientError when the connection ends or is silent. */
  override sendCommand(command: string): Promise<ControlReply> {
    return new Promise((resolve, reject) => {
      const socket = this.#socket
      if (!socket || this.#closed) return reject(this.#closed ?? new TransientError('not connected to Tor'))
      if (/[\r\n]/.test(command)) return reject(new TypeError('a line break in a control command'))
      const verb = command.split(' ', 1)[0]
      const cancel = after(LIMITS.commandMs, () => socket.destroy(new Error(`no answer to ${verb}`)))
      this.#pending.push({
        resolve: (reply) => {
          cancel()
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
    return accepted(command.split(' ', 1)[0]!, await this.sendCommand(command))
  }

  /** The value of one GETINFO key. Throws TorRefusal. */
  async info(key: string): Promise<string> {
    const { lines } = accepted('GETINFO', (await this.getInfo(key)) as ControlReply)
    return lines[0]!.slice(key.length + 1).replace(/^\n/, '')
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
    if (added.error !== undefined) throw new TorRefusal(added.error, `ADD_ONION: ${(added.msg ?? '').trim()}`)
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
    for (const { reject } of this.#pending.splice(0)) reject(reason)
    this.#resolveClosed(reason)
  }

  #feed(chunk: string): void {
    this.#text += chunk
    this.#replyBytes += chunk.length
    if (this.#replyBytes > LIMITS.replyBytes) {
      this.#socket?.destroy(new Error(`a reply longer than ${LIMITS.replyBytes} bytes`))
      return
    }
    for (let end = this.#text.indexOf('\r\n'); end >= 0; end = this.#text.indexOf('\r\n')) {
      const line = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 2)
      this.#line(line)
    }
  }

  #line(line: string): void {
    if (this.#inData) {
      if (line === '.') this.#inData = false
      else this.#lines[this.#lines.length - 1] += `\n${line.startsWith('.') ? line.slice(1) : line}`
      return
    }
    const separator = line[3]
    this.#lines.push(line.slice(4))
    if (separator === '+') this.#inData = true
    if (separator !== ' ') return
    const lines = this.#lines
    this.#lines = []
    this.#replyBytes = this.#text.length
    const type = Number(line.slice(0, 3))
    if (type >= 600) this.#onEvent(lines.join('\n'))
    else this.#pending.shift()?.resolve({ type, message: lines.at(-1)!, data: asReceived(type, lines), lines })
  }
}

function accepted(verb: string, reply: ControlReply): ControlReply {
  if (reply.type >= 200 && reply.type <= 299) return reply
  throw new TorRefusal(reply.type, `${verb}: ${reply.type} ${reply.message}`)
}

/** The reply as inherited commands expect it in `data`. */
function asReceived(type: number, lines: readonly string[]): string {
  return lines.map((line, i) => `${type}${i < lines.length - 1 ? '-' : ' '}${line}\r\n`).join('')
}

function quote(text: string): string {
  return `"${text.replace(/(["\\])/g, '\\$1')}"`
}

async function readCookie(where: string, file: string, takesPassword: boolean): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') throw new TransientError(`${where} names the cookie ${file}, which is not there (yet)`)
    const otherwise = takesPassword ? ', or give --tor-auth-password' : ''
    throw new AccessRefused(
      `${where} wants its cookie ${file}, which this user can't read: add the user to Tor's group (debian-tor) and CookieAuthFileGroupReadable 1 to torrc${otherwise}`,
    )
  }
}

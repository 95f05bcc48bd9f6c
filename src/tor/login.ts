/**
 * Logging in at Tor's control port. Who listens there may not be Tor: while Tor is down any program of this machine can
 * take its port. So what is sent tells a stranger nothing where that can be had (SAFECOOKIE), and whoever was given a
 * password or a cookie never goes in without, to hand the onion key to somebody who just says yes.
 * Source: control-spec 3.5 (AUTHENTICATE), 3.21 (PROTOCOLINFO), 3.24 (AUTHCHALLENGE).
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { AccessRefused, TransientError } from '../errors.ts'
import { printable } from '../format.ts'
import type { Secret } from '../secret.ts'
import type { TorPort } from './address.ts'
import type { ControlReply } from './control.ts'
import { type Cookie, mayBeTors, readCookie } from './cookie.ts'
import { listenersAt } from './listener.ts'
import { TorRefusal } from './refusals.ts'

const CLIENT_HASH_KEY = 'Tor safe cookie authentication controller-to-server hash'
const SERVER_HASH_KEY = 'Tor safe cookie authentication server-to-controller hash'

export interface Credentials {
  password: Secret | undefined
  /** Where Tor's cookie is found here; else where Tor says that it is. */
  cookieFile?: string | undefined
  /** Not without the port's own proof of the cookie (or a password): it gave one before. */
  demandsProof?: boolean
}

/** How Tor let us in: NULL means that it lets in everybody. */
export interface Login {
  method: 'NULL' | 'password' | 'cookie'
  cookieFile?: string
  /** Who listens there has proven to know the cookie (SAFECOOKIE). */
  isProven: boolean
}

/** What is asked before the login: a command that must succeed, or throws TorRefusal. */
type Must = (command: string) => Promise<ControlReply>

/** `where`: the port as messages name it. Throws AccessRefused (the operator has to do something) or TransientError. */
export async function logIn(
  must: Must,
  credentials: Credentials,
  { port, where }: { port: TorPort; where: string },
): Promise<Login> {
  try {
    const { methods, cookieFile: told } = offered((await must('PROTOCOLINFO 1')).lines, where)
    const { password } = credentials
    if (password && methods.includes('HASHEDPASSWORD')) return await byPassword(must, password, where)
    if (methods.includes('SAFECOOKIE')) return await byCookie(must, credentials, { told, methods, where })
    if (credentials.demandsProof && !password) throw unproven(methods, where)
    if (methods.includes('NULL')) return await byNull(must, credentials, { port, where })
    if (methods.includes('COOKIE') && !password) return await byCookie(must, credentials, { told, methods, where })
    throw new AccessRefused(noWay(methods, password !== undefined, where))
  } catch (error) {
    if (error instanceof TorRefusal) throw new TransientError(`${where}: ${error.message}`, { cause: error })
    throw error
  }
}

function offered(lines: readonly string[], where: string): { methods: string[]; cookieFile: string | undefined } {
  const auth = lines.find((line) => line.startsWith('AUTH ')) ?? ''
  const methods = /METHODS=(\S+)/.exec(auth)?.[1]
  if (methods === undefined) throw new TransientError(`${where} does not answer as Tor does: is it another program's?`)
  const quoted = /COOKIEFILE="((?:[^"\\]|\\.)*)"/.exec(auth)?.[1]
  return { methods: methods.split(','), cookieFile: quoted === undefined ? undefined : unquote(quoted) }
}

function noWay(methods: readonly string[], hasPassword: boolean, where: string): string {
  if (hasPassword) {
    return `${where} takes no password, and --tor-auth-password is given: put HashedControlPassword into torrc (tor --hash-password), or leave the password out`
  }
  if (methods.includes('HASHEDPASSWORD')) {
    return `${where} wants a password: give --tor-auth-password, or add CookieAuthentication 1 to torrc`
  }
  const names = printable(methods.join(', '), 60)
  return `${where} offers no way to authenticate (${names}): add CookieAuthentication 1 to torrc (see print-torrc)`
}

function unproven(methods: readonly string[], where: string): TransientError {
  const offers = methods.includes('NULL') ? 'lets in everybody' : 'does not offer to prove that it is Tor (SAFECOOKIE)'
  return new TransientError(
    `${where} ${offers}, which it did not before: who listens there may not be Tor, and is not given the onion key; if torrc was changed, restart the tracker`,
  )
}

async function byPassword(must: Must, password: Secret, where: string): Promise<Login> {
  await authenticate(
    must,
    quote(password.reveal()),
    (said) => new AccessRefused(`${where} refuses the password: check --tor-auth-password (${said})`),
  )
  return { method: 'password', isProven: false }
}

/** Who lets in everybody has shown nothing: at least it is to be a program of Tor's user, root's or ours. */
async function byNull(
  must: Must,
  { password, cookieFile }: Credentials,
  { port, where }: { port: TorPort; where: string },
): Promise<Login> {
  const given = password ? '--tor-auth-password' : cookieFile !== undefined ? '--tor-cookie-file' : undefined
  if (given !== undefined) {
    throw new AccessRefused(
      `${where} lets in everybody, and ${given} is given: who listens there may not be Tor, and is not given the onion key; CookieAuthentication 1 (or HashedControlPassword) in torrc, or leave ${given} out`,
    )
  }
  for (const uid of await listenersAt(port)) {
    if (await mayBeTors(uid)) continue
    throw new TransientError(
      `${where} lets in everybody, and belongs to a program of user ${uid}, neither Tor's, root's nor ours: it is not given the onion key; ss -ltnp says whose it is. If that is your Tor: CookieAuthentication 1 in its torrc`,
    )
  }
  await authenticate(must, '', (said) => new AccessRefused(`${where} refuses us (${said})`))
  return { method: 'NULL', isProven: false }
}

interface CookieOffer {
  told: string | undefined
  methods: readonly string[]
  where: string
}

/** A cookie that doesn't fit is one of the Tor before this one: it will be written anew. */
async function byCookie(must: Must, credentials: Credentials, { told, methods, where }: CookieOffer): Promise<Login> {
  const { cookieFile: given } = credentials
  const file = given ?? told
  if (file === undefined) {
    throw new AccessRefused(`${where} does not say where its cookie is: give --tor-cookie-file`)
  }
  const cookie = await readCookie(file)
  const takesPassword = methods.includes('HASHEDPASSWORD')
  if (cookie.kind !== 'cookie') throw cookieFault(cookie, file, { isGiven: given !== undefined, takesPassword, where })
  const isProven = methods.includes('SAFECOOKIE')
  let proof: string
  if (isProven) proof = await safeCookieProof(must, cookie.bytes, { file, where })
  else if (await mayBeTors(cookie.ownerUid)) proof = cookie.bytes.toString('hex')
  else {
    throw new TransientError(
      `${where} names the cookie ${printable(file)}, which belongs to user ${cookie.ownerUid}: neither Tor's, root's nor ours, it is not sent`,
    )
  }
  await authenticate(must, proof, () => new TransientError(`${where} refuses its cookie ${printable(file)}`))
  return { method: 'cookie', cookieFile: file, isProven }
}

async function authenticate(must: Must, proof: string, refused: (said: string) => Error): Promise<void> {
  try {
    await must(`AUTHENTICATE ${proof}`.trimEnd())
  } catch (error) {
    if (error instanceof TorRefusal && error.code === 515) throw refused(`515 ${printable(error.words, 60)}`)
    throw error
  }
}

/** Both sides prove that they know the cookie, neither shows it. */
async function safeCookieProof(
  must: Must,
  cookie: Buffer,
  { file, where }: { file: string; where: string },
): Promise<string> {
  const clientNonce = randomBytes(32)
  const { message } = await must(`AUTHCHALLENGE SAFECOOKIE ${clientNonce.toString('hex')}`)
  const match = /SERVERHASH=([0-9A-F]{64}) SERVERNONCE=([0-9A-F]{64})/i.exec(message)
  if (!match) throw new TransientError(`${where} answers AUTHCHALLENGE with something else, as Tor does not`)
  const text = Buffer.concat([cookie, clientNonce, Buffer.from(match[2]!, 'hex')])
  const expected = createHmac('sha256', SERVER_HASH_KEY).update(text).digest()
  if (!timingSafeEqual(expected, Buffer.from(match[1]!, 'hex'))) {
    throw new TransientError(
      `${where} does not know its cookie ${printable(file)}: the file is another Tor's, or another program has Tor's port (ss -ltnp): sudo systemctl restart tor`,
    )
  }
  return createHmac('sha256', CLIENT_HASH_KEY).update(text).digest('hex')
}

function cookieFault(
  { kind, detail }: Exclude<Cookie, { kind: 'cookie' }>,
  file: string,
  { isGiven, takesPassword, where }: { isGiven: boolean; takesPassword: boolean; where: string },
): Error {
  const name = printable(file)
  const orPassword = takesPassword ? ', or give --tor-auth-password, which it takes as well' : ''
  if (kind === 'closed') {
    return new AccessRefused(
      `${where} wants its cookie ${name}, which this user can't read: add the user to Tor's group (debian-tor) and CookieAuthFileGroupReadable 1 to torrc${orPassword}`,
    )
  }
  if (kind === 'absent') {
    return new TransientError(
      isGiven
        ? `--tor-cookie-file ${name} is not there (yet): name the file that Tor keeps its cookie in, as it is seen from here${orPassword}`
        : `${where} names the cookie ${name}, which is not there on this machine (yet): if Tor runs elsewhere (another container or host), share that file and name it with --tor-cookie-file${orPassword}`,
    )
  }
  return isGiven
    ? new AccessRefused(
        `--tor-cookie-file ${name} is no cookie of Tor's (a regular file of 32 bytes): ${detail}; name Tor's own, control.authcookie or control_auth_cookie`,
      )
    : new TransientError(
        `${where} names ${name} as its cookie, which is none (a regular file of 32 bytes): ${detail}; nothing of it was sent, and who listens there may not be Tor`,
      )
}

function quote(text: string): string {
  return `"${text.replace(/(["\\])/g, '\\$1')}"`
}

/** A string as Tor escapes it, bytes as octal numbers among them: a path in UTF-8. */
function unquote(text: string): string {
  const named: Record<string, string> = { n: '\n', t: '\t', r: '\r' }
  const bytes = text.replace(/\\([0-7]{1,3}|.)/g, (_, escaped: string) =>
    /^[0-7]/.test(escaped) ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff) : (named[escaped] ?? escaped),
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

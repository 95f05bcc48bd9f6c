/**
 * Tor's authentication cookie: a regular file of exactly 32 bytes. Whoever listens where Tor should names the file, so
 * whatever else it may be (a pipe, a device, a key, a list of users) is neither waited for nor read.
 * Source: control-spec 3.5 and 3.24.
 */
import { constants } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import { describeError } from '../errors.ts'

const COOKIE_BYTES = 32

/** As packages of Tor call the user that it runs as. */
const TOR_USERS: ReadonlySet<string> = new Set(['debian-tor', 'tor', '_tor', 'toranon'])

/**
 * `bytes` as Tor wrote them, or why not: `absent` (not there), `closed` (this user may not read it), `odd` (no cookie).
 */
export type Cookie =
  | { kind: 'cookie'; bytes: Buffer; ownerUid: number }
  | { kind: 'absent' | 'closed' | 'odd'; detail: string }

/** Reads at most one byte more than a cookie has. Never throws. */
export async function readCookie(file: string): Promise<Cookie> {
  try {
    // Opening some devices does something already.
    if (!(await stat(file)).isFile()) return { kind: 'odd', detail: 'no regular file' }
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    const opened = await handle.stat()
    if (!opened.isFile()) return { kind: 'odd', detail: 'no regular file' }
    if (opened.size !== COOKIE_BYTES) return { kind: 'odd', detail: `${opened.size} bytes` }
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(COOKIE_BYTES + 1), 0, COOKIE_BYTES + 1, 0)
    if (bytesRead !== COOKIE_BYTES) return { kind: 'odd', detail: 'not the size that it says' }
    return { kind: 'cookie', bytes: buffer.subarray(0, COOKIE_BYTES), ownerUid: opened.uid }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const kind =
      code === 'ENOENT' || code === 'ENOTDIR' ? 'absent' : code === 'EACCES' || code === 'EPERM' ? 'closed' : 'odd'
    return { kind, detail: describeError(error) }
  }
}

/** Whether a file of this user can be one that Tor wrote: it is Tor's user, root, or the one we run as. */
export async function mayBeTors(ownerUid: number): Promise<boolean> {
  if (ownerUid === 0 || ownerUid === process.getuid?.()) return true
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '')
  return users.split('\n').some((line) => {
    const [name, , uid] = line.split(':')
    return TOR_USERS.has(name!) && Number(uid) === ownerUid
  })
}

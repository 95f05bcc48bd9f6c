/** What this user may do with a file, whose it is, and what to type where it is somebody else's. */
import { accessSync, constants, readFileSync, type Stats, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, resolve } from 'node:path'

const CODES_OF_OTHERS = ['EACCES', 'EPERM']

/** By access(2), which for root knows of read-only mounts alone: the code of its refusal; undefined where there is none. */
export function refusedBySystem(path: string, wants: 'read' | 'write'): string | undefined {
  try {
    accessSync(path, wants === 'read' ? constants.R_OK : constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  }
}

/** A user's name as this machine has it; `#1000`, which sudo takes, where it has none. */
export function nameOfUser(uid: number): string {
  return nameIn('/etc/passwd', uid) ?? `#${uid}`
}

/** The third field of these files is the number, the first the name. Users that only a network knows have none here. */
function nameIn(file: '/etc/passwd' | '/etc/group', id: number): string | undefined {
  try {
    const entries = readFileSync(file, 'utf8').split('\n')
    return entries.map((line) => line.split(':')).find(([, , number]) => number === String(id))?.[0]
  } catch {
    return undefined // a container without one: the number says it, too
  }
}

/**
 * Why `path` is refused to this user and what to type, a sentence without its end; undefined where it isn't, or isn't
 * there. Where not even that can be seen, the folder that hides it is told of.
 */
export function refusalFor(path: string, wants: 'read' | 'write'): string | undefined {
  const code = refusedBySystem(path, wants)
  if (code === 'EROFS') return `${path} is on a file system that is mounted read-only: findmnt -T ${path}`
  if (code === undefined || !CODES_OF_OTHERS.includes(code)) return undefined
  const seen = nearest(resolve(path))
  if (!seen) return undefined
  const { at, stat } = seen
  const { uid, username } = userInfo()
  if (stat.uid === uid) return `${at} does not let even its owner in: chmod u+rwX ${at}`
  const group = nameIn('/etc/group', stat.gid)
  // A file of root's that a service may read is read by that service's user.
  const user = stat.uid === 0 && (stat.mode & 0o040) !== 0 && group !== undefined ? group : nameOfUser(stat.uid)
  const whose = user === nameOfUser(stat.uid) ? `belongs to ${user}` : `is for ${user}`
  return `${at} ${whose}, and this is ${username}: sudo -u '${user}' fidelity-tracker …`.replace(
    /'([a-z_][a-z0-9_-]*)'/,
    '$1',
  )
}

/** `path`, or the lowest folder above it that can be looked at. */
function nearest(path: string): { at: string; stat: Stats } | undefined {
  for (let at = path; ; at = dirname(at)) {
    try {
      return { at, stat: statSync(at) }
    } catch {
      if (at === dirname(at)) return undefined
    }
  }
}

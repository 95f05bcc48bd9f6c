/**
 * Whether the daemon could use what is in its data directory. Asks of each file what the daemon's user may do with it, and
 * changes nothing; root, who may do anything, asks for the folder's owner.
 */
import { type Stats, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { refusedBySystem } from '../file-access.ts'
import { broken, type Finding } from './finding.ts'

export interface DaemonUser {
  /** Why the user may not; undefined when it may, or nothing is there. */
  refusal(path: string, wants: 'read' | 'write'): AccessRefusal | undefined
}

export interface AccessRefusal {
  text: string
  /** What to type. */
  fix: string
}

/** The user that the daemon runs as: whoever asks, or the owner of `dataDir` where root asks. */
export function daemonUser(dataDir: string): DaemonUser {
  const { uid, username } = userInfo()
  const folder = statSync(dataDir)
  const isOther = uid === 0 && folder.uid !== 0
  const name = isOther ? `user ${folder.uid}` : username
  const owner = isOther ? `${folder.uid}:${folder.gid}` : username
  return {
    refusal(path, wants) {
      const stat = statSync(path, { throwIfNoEntry: false })
      if (!stat) return undefined
      const code = refusedBySystem(path, wants)
      if (code === 'EROFS') {
        return {
          text: `${path} is on a file system that is mounted read-only`,
          fix: `findmnt -T ${path}; mount it for writing`,
        }
      }
      if (code === 'EPERM') return { text: `${path} is marked as not to be changed`, fix: `sudo chattr -ia ${path}` }
      const isRefused = isOther ? !mayByMode(stat, folder, wants) : code !== undefined
      if (!isRefused) return undefined
      const whose = `it belongs to user ${stat.uid}, mode ${(stat.mode & 0o777).toString(8)}`
      const isOwn = stat.uid === (isOther ? folder.uid : uid)
      const chmod = `chmod u+rw ${path}`
      return {
        text: `${path} can't be ${wants === 'read' ? 'read' : 'written'} by ${name}: ${whose}`,
        fix: isOwn ? `sudo ${chmod}` : `sudo chown ${owner} ${path} && sudo ${chmod}`,
      }
    },
  }
}

/** What the owner and group of `folder` may do with a file, as far as its mode tells. */
function mayByMode({ uid, gid, mode }: Stats, folder: Stats, wants: 'read' | 'write'): boolean {
  const bits = uid === folder.uid ? mode >> 6 : gid === folder.gid ? mode >> 3 : mode
  const needed = wants === 'read' ? 0o4 : 0o6
  return (bits & needed) === needed
}

/** Those of `paths` that the daemon's user may not use, as one finding. */
export function refusedFinding(
  check: string,
  user: DaemonUser,
  paths: readonly string[],
  wants: 'read' | 'write',
): Finding | undefined {
  const refusals = paths.map((path) => user.refusal(path, wants)).filter((refusal) => refusal !== undefined)
  if (refusals.length === 0) return undefined
  const texts = refusals.map(({ text }) => text).join('; ')
  return broken(check, `${texts}: start would fail`, refusals.map(({ fix }) => fix).join(' && '))
}

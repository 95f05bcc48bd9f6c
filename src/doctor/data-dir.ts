/** The data directory: owner, mode, space, and each file in it as the daemon's user would meet it. */
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import type { Network } from '../chain/types.ts'
import { databasePath } from '../data-places.ts'
import { nameOfUser, refusedBySystem } from '../file-access.ts'
import { inspectDatabase } from '../store/check.ts'
import { ONION_KEY_FILE } from '../tor/key.ts'
import { daemonUser, refusedFinding } from './access.ts'
import { broken, type Finding, well, worth } from './finding.ts'

const LIMITS = {
  /** The database takes about 20 kB a block of --retention-blocks, and as much again for its log while it grows. */
  bytesPerBlock: 2 * 20_000,
  /** With less than this SQLite soon fails. */
  freeBytesMin: 100_000_000,
}

export function dataDirFindings(dataDir: string, network: Network, retentionBlocks: number): Finding[] {
  if (!existsSync(dataDir)) return [absentFinding(dataDir)]
  const findings = [accessFinding(dataDir)]
  if (findings[0]!.level === 'failure') return findings
  const { bavail, bsize } = statfsSync(dataDir)
  const used = existsSync(databasePath(dataDir)) ? statSync(databasePath(dataDir)).size : 0
  findings.push(spaceFinding(dataDir, bavail * bsize, Math.max(0, retentionBlocks * LIMITS.bytesPerBlock - used)))
  const user = daemonUser(dataDir)
  const lock = refusedFinding('lock', user, [join(dataDir, 'lock')], 'write')
  if (lock) findings.push(lock)
  const key = join(dataDir, ONION_KEY_FILE)
  if (existsSync(key)) findings.push(refusedFinding('onion-key', user, [key], 'read') ?? keyFinding(key))
  const files = ['', '-wal', '-shm'].map((suffix) => databasePath(dataDir) + suffix)
  findings.push(refusedFinding('database', user, files, 'write') ?? databaseFinding(dataDir, network))
  return findings
}

function absentFinding(dataDir: string): Finding {
  let above = dirname(dataDir)
  while (!existsSync(above)) above = dirname(above)
  if (mayWrite(above)) return well('data-dir', `${dataDir} is not there yet: start makes it`)
  return broken(
    'data-dir',
    `${dataDir} (--datadir) is not there, and this user can't make it`,
    `sudo install -d -m 700 -o ${userInfo().username} ${dataDir}`,
  )
}

function accessFinding(dataDir: string): Finding {
  const stat = statSync(dataDir)
  const { uid, username } = userInfo()
  if (!stat.isDirectory()) {
    return broken('data-dir', `${dataDir} (--datadir) is no folder`, 'name another one with --datadir')
  }
  if (uid === 0 && stat.uid !== 0 && (stat.mode & 0o700) === 0o700) {
    return worth(
      'data-dir',
      `${dataDir} belongs to user ${nameOfUser(stat.uid)}, and root may do what that user may not`,
      `run doctor as that user: sudo -u ${nameOfUser(stat.uid)} fidelity-tracker doctor`,
    )
  }
  if (stat.uid !== uid && uid !== 0) {
    return broken(
      'data-dir',
      `${dataDir} belongs to user ${nameOfUser(stat.uid)}, but this is ${username}`,
      `run this as its owner: sudo -u ${nameOfUser(stat.uid)} fidelity-tracker doctor; or give it to this user: sudo chown -R ${username} ${dataDir}`,
    )
  }
  if (refusedBySystem(dataDir, 'write') === 'EROFS') {
    return broken(
      'data-dir',
      `${dataDir} is on a file system that is mounted read-only`,
      `findmnt -T ${dataDir}; mount it for writing, or name another --datadir`,
    )
  }
  if (!mayWrite(dataDir) || (stat.uid !== uid && (stat.mode & 0o700) !== 0o700)) {
    return broken('data-dir', `${dataDir} can't be written by its own user`, `chmod 700 ${dataDir}`)
  }
  if ((stat.mode & 0o077) !== 0) {
    return worth('data-dir', `${dataDir} is open to other users of this machine`, `chmod 700 ${dataDir}`)
  }
  return well('data-dir', `${dataDir} belongs to ${username}, and to nobody else`)
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** `neededBytes`: what the database may still grow by. */
export function spaceFinding(dataDir: string, freeBytes: number, neededBytes: number): Finding {
  const free = `${(freeBytes / 1e9).toFixed(1)} GB free at ${dataDir}`
  const fix = `df -h ${dataDir}; make room, give --datadir a larger disk, or a lower --retention-blocks`
  if (freeBytes < LIMITS.freeBytesMin) return broken('space', `only ${free}`, fix)
  if (freeBytes < neededBytes) {
    return worth('space', `${free}, but the database may grow by ${(neededBytes / 1e9).toFixed(1)} GB`, fix)
  }
  return well('space', free)
}

function keyFinding(key: string): Finding {
  if ((statSync(key).mode & 0o077) === 0) return well('onion-key', `${key} is its owner's alone`)
  return broken('onion-key', `${key} is open to other users: start refuses it`, `chmod 600 ${key}`)
}

function databaseFinding(dataDir: string, network: Network): Finding {
  const path = databasePath(dataDir)
  const found = inspectDatabase(path)
  switch (found.kind) {
    case 'absent':
      return well('database', 'none yet: start makes it')
    case 'unusable':
      return broken(
        'database',
        `${path} can't be opened: ${found.detail}`,
        `sudo chown -R ${userInfo().username} ${dataDir}`,
      )
    case 'damaged':
      return broken(
        'database',
        `${path} is damaged (${found.detail})`,
        `stop the daemon; fidelity-tracker check-db --salvage --network ${network} --datadir ${dataDir}; start it: what can be read of registrations and history is kept, the rest is scanned again`,
      )
  }
  if (found.schema > found.knownSchema) {
    return broken(
      'database',
      `${path} was written by a newer fidelity-tracker (schema ${found.schema}, known here: ${found.knownSchema})`,
      'upgrade fidelity-tracker, or put back the copy from before the upgrade: tracker.sqlite.schema-<number> beside it, or a backup',
    )
  }
  if (found.network !== undefined && found.network !== network) {
    return broken(
      'database',
      `${path} belongs to network ${found.network}, but --network is ${network}`,
      `give --network ${found.network}, or another --datadir`,
    )
  }
  const older = found.schema < found.knownSchema ? ', an older schema that start brings up to date' : ''
  return well('database', `readable, quick check passed${older} (check-db reads all of it)`)
}

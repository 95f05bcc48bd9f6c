/** Who may read the data directory: it says who asks about which coins. Older versions, or a copy, may have left it open. */
import { chmodSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Of the database and the lock, with what SQLite keeps beside them. The onion key is refused while it is open, not closed. */
const OURS = /^(?:tracker\.sqlite|lock)(?:[-.].*)?$/

/** Closes `dataDir` and our files in it to group and others. `open`: those that are open and somebody else's to close. */
export function closeToOthers(dataDir: string): { closed: string[]; open: string[] } {
  const files = readdirSync(dataDir).filter((name) => OURS.test(name))
  const closed: string[] = []
  const open: string[] = []
  for (const path of [dataDir, ...files.map((name) => join(dataDir, name))]) {
    const stat = path === dataDir ? statSync(path) : lstatSync(path, { throwIfNoEntry: false })
    if (!stat || (stat.mode & 0o077) === 0 || !(stat.isFile() || stat.isDirectory())) continue
    if (stat.uid !== process.geteuid?.()) open.push(path)
    else {
      try {
        chmodSync(path, stat.mode & 0o7700)
        closed.push(path)
      } catch {
        open.push(path) // a file system without modes, or one that is only read
      }
    }
  }
  return { closed, open }
}

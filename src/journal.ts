/**
 * Priorities for systemd's journal: a line that begins with `<N>` is kept there under syslog's priority N, without those
 * three characters (sd-daemon(3)), so that `journalctl -p warning` finds it. They are written to the journal alone, which
 * JOURNAL_STREAM names by the device and inode of its stream (systemd.exec(5)): whoever was given the variable, and has
 * another standard output, must not find them in a file.
 */
import { fstatSync } from 'node:fs'

/** syslog's, by pino's levels; what stands in between counts as the level below. */
const PRIORITIES: [level: number, priority: number][] = [
  [60, 2], // fatal: critical
  [50, 3], // error
  [40, 4], // warning
  [30, 6], // info
]
const DEBUG = 7

/** Is this file descriptor the stream that JOURNAL_STREAM (`<device>:<inode>`, decimal) names? */
export function isJournal(fd: number, journalStream: string | undefined): boolean {
  if (!journalStream) return false
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true })
    return journalStream === `${dev}:${ino}`
  } catch {
    return false // closed: nobody reads it
  }
}

/** Each line of `text` with the priority of `level` (pino's) before it. A line ends with \n, and nothing else. */
export function withPriority(text: string, level: number): string {
  const [, priority = DEBUG] = PRIORITIES.find(([from]) => level >= from) ?? []
  return text.replace(/(^|\n)(?=[^\n])/g, `$1<${priority}>`)
}

/** Writes a failure to standard error, in the journal as an error. */
export function writeFailure(text: string): void {
  process.stderr.write(isJournal(2, process.env.JOURNAL_STREAM) ? withPriority(text, 50) : text)
}

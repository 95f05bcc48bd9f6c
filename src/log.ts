/**
 * The pino root: JSON lines, in the journal with their priority, or text for people, a line each too. No instance is
 * exported; `main.ts` makes one and hands it on.
 */
import { isatty } from 'node:tty'
import pino, { type Logger } from 'pino'
import { isJournal, withPriority } from './journal.ts'
import { LOG_LEVELS, type LogFormat, type LogLevel } from './setting-values.ts'

/** Field names that never reach the log, wherever they stand. */
const REDACTED = ['password', 'auth', 'cookie', 'privateKey', '*.password', '*.auth', '*.cookie', '*.privateKey']

/** A root and the loggers made from it (one per room): a child keeps the level it was born with. */
const families = new WeakMap<Logger, Logger[]>()

/** `fd`: where it is written, standard output if nothing is said. */
export async function openLog(level: LogLevel, format: LogFormat, fd = 1): Promise<Logger> {
  const children: Logger[] = []
  const log = await openRoot(level, format, fd, (child) => children.push(child))
  families.set(log, children)
  return log
}

/** Changes the level of a log that openLog made, its children included. */
export function setLogLevel(log: Logger, level: LogLevel): void {
  for (const logger of [log, ...(families.get(log) ?? [])]) logger.level = level
}

/** One step more talkative than `level`; after the last one `configured` again. */
export function nextLogLevel(level: LogLevel, configured: LogLevel): LogLevel {
  const next = LOG_LEVELS[LOG_LEVELS.indexOf(level) + 1]
  return next ?? configured
}

/** Writes a line that was asked for, at level info, whatever the log's level. */
export function writeAnyway(log: Logger, fields: object, msg: string): void {
  const { level } = log
  if (!log.isLevelEnabled('info')) log.level = 'info'
  log.info(fields, msg)
  log.level = level
}

async function openRoot(
  level: LogLevel,
  format: LogFormat,
  fd: number,
  onChild: (child: Logger) => void,
): Promise<Logger> {
  const options = {
    level,
    onChild,
    base: null,
    redact: { paths: REDACTED, censor: '<secret>' },
    timestamp: pino.stdTimeFunctions.isoTime,
  }
  // Synchronous both ways: the last line before an exit is the one that matters.
  const isTerminal = isatty(fd)
  if (format === 'pretty' || (format === 'auto' && isTerminal)) {
    const { default: pretty } = await import('pino-pretty')
    // With the date, and how far the clock is from UTC: whoever reads in the morning may sit elsewhere.
    const text = {
      translateTime: 'SYS:yyyy-mm-dd HH:MM:ss o',
      singleLine: true,
      ...(!isTerminal && { colorize: false }),
    }
    return pino(options, pretty({ ...text, sync: true, destination: fd }))
  }
  const out = pino.destination({ dest: fd, sync: true })
  return pino(options, isJournal(fd, process.env.JOURNAL_STREAM) ? withPriorities(out) : out)
}

/** Puts each line's priority before it: pino says of which level it is to a stream that asks for it. */
function withPriorities(out: { write(line: string): unknown }) {
  return {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    write(line: string): void {
      out.write(withPriority(line, this.lastLevel))
    },
  }
}

/** The pino root: pretty on a terminal, JSON lines else. No instance is exported; `main.ts` makes one and hands it on. */
import pino, { type Logger } from 'pino'
import pretty from 'pino-pretty'

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Field names that never reach the log, wherever they stand. */
const REDACTED = ['password', 'auth', 'cookie', 'privateKey', '*.password', '*.auth', '*.cookie', '*.privateKey']

export function openLog(level: LogLevel): Logger {
  const options = {
    level,
    base: null,
    redact: { paths: REDACTED, censor: '<secret>' },
    timestamp: pino.stdTimeFunctions.isoTime,
  }
  // Synchronous both ways: the last line before an exit is the one that matters.
  if (process.stdout.isTTY) {
    return pino(options, pretty({ sync: true, translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname' }))
  }
  return pino(options, pino.destination({ dest: 1, sync: true }))
}

#!/usr/bin/env node
/** bin: argv → cli → exit code. Alone in touching process signals and process.exitCode. */
import type { SignalHandlers } from './daemon.ts'
import { ConfigError, describeError, StoreError, UnreachableError } from './errors.ts'
import { writeFailure } from './journal.ts'
import { after } from './world.ts'

/** A clean stop takes milliseconds; this is for a stop that hangs. */
const STOP_MS_MAX = 4_500

/** As for a database that can't be written (EX_IOERR of sysexits.h). */
const OUTPUT_LOST = 74

// Before SQLite is loaded (with the verbs, below): its binary needs Node-API 10 and crashes an older Node instead of
// saying so.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 14)) {
  writeFailure(`fidelity-tracker: Node ${process.versions.node} is too old: install Node 24 LTS (22.14 at least)\n`)
  process.exit(2)
}

// Hides the command line, which may hold a password given as a flag, from `ps` of other users.
process.title = 'fidelity-tracker'

// Whatever any verb writes is its user's alone, SQLite's files too, which take no mode from us.
process.umask(0o077)

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    const code = signal === 'SIGINT' ? 130 : 143
    if (stop.signal.aborted) process.exit(code)
    stop.abort(new DOMException(`stopped by ${signal}`, 'AbortError'))
    after(STOP_MS_MAX, () => process.exit(1))
  })
}
// Taken by every verb: without a listener Node would open its debugger on SIGUSR1, and end on SIGUSR2.
const handlers: SignalHandlers = { dumpState() {}, changeLogLevel() {} }
process.on('SIGUSR1', () => handlers.dumpState())
process.on('SIGUSR2', () => handlers.changeLogLevel())
// A reader that went away (`| head`) is no failure of ours; a full disk is the operator's.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  writeFailure(lostOutput(error))
  process.exit(OUTPUT_LOST)
})
process.stderr.on('error', () => {}) // there is nobody left to tell

try {
  const { runCli } = await import('./cli/program.ts')
  process.exitCode = await runCli(process.argv, stop.signal, handlers)
} catch (error) {
  process.exitCode = exitCodeOf(error)
  after(STOP_MS_MAX, () => process.exit()) // whatever the failure has left open
  const isKnown = process.exitCode !== 1
  writeFailure(isLostOutput(error) ? lostOutput(error) : `fidelity-tracker: ${describeError(error)}\n`)
  if (!isKnown && error instanceof Error) writeFailure(`${error.stack}\n`)
}

/** The log's own writes, which throw where they are made; all else that can't be written is named by whoever writes it. */
function isLostOutput(error: unknown): boolean {
  if (!(error instanceof Error) || !('syscall' in error) || error.syscall !== 'write') return false
  return 'code' in error && ['ENOSPC', 'EDQUOT', 'EPIPE', 'EIO'].includes(String(error.code))
}

function lostOutput(error: unknown): string {
  return `fidelity-tracker: standard output can't be written: ${describeError(error)}\n`
}

/** 2: the operator has to change something. 69: bitcoind or Tor is away. 74: database or output. 1: our own failure. */
function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return 2
  if (error instanceof UnreachableError) return 69
  if (error instanceof StoreError) return 74
  return isLostOutput(error) ? OUTPUT_LOST : 1
}

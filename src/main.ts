#!/usr/bin/env node
/** bin: argv → cli → exit code. Alone in touching process signals and process.exitCode. */
import type { SignalHandlers } from './daemon.ts'
import { ConfigError, describeError, StoreError, UnreachableError } from './errors.ts'
import { writeFailure } from './journal.ts'
import { after } from './world.ts'

/** A clean stop takes milliseconds; this is for a stop that hangs. */
const STOP_MS_MAX = 4_500

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
// A reader that went away (`| head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

try {
  const { runCli } = await import('./cli/verbs.ts')
  process.exitCode = await runCli(process.argv, stop.signal, handlers)
} catch (error) {
  process.exitCode = exitCodeOf(error)
  after(STOP_MS_MAX, () => process.exit()) // whatever the failure has left open
  const isKnown = process.exitCode !== 1
  writeFailure(`fidelity-tracker: ${describeError(error)}\n`)
  if (!isKnown && error instanceof Error) writeFailure(`${error.stack}\n`)
}

/** 2: the operator has to change something. 69: bitcoind or Tor is away. 74: the database. 1: our own failure. */
function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return 2
  if (error instanceof UnreachableError) return 69
  if (error instanceof StoreError) return 74
  return 1
}

/**
 * Runs test files, as `node --test` would, in two lanes at once: two files at a time of those that work, as each may run a
 * bitcoind and a Tor network, and beside them one of those that mostly wait.
 */
import { existsSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { run } from 'node:test'
import report from './test-reporter.mjs'

/** They wait for deadlines of the daemon, which nobody may shorten for them: a fifth of their time is work. */
const PATIENT = [
  'chain-waiting',
  'chain-weather',
  'lifecycle-readiness',
  'nostr-door-strangers',
  'nostr-relays-mend',
  'nostr-relays-shared',
  'nostr-relays-trackers',
  'nostr-relays-weather',
  'shared-verbs',
  'tor-two-keys',
  'trackers-strangers',
  'trackers-tor',
].map((name) => `test/integration/${name}.test.ts`)

/** No test takes more than two minutes; one that hangs is named after ten. */
const TIMEOUT_MS = 600_000

const lost = PATIENT.filter((file) => !existsSync(file))
if (lost.length > 0) throw new Error(`scripts/run-tests.mjs names what is not there: ${lost.join(', ')}`)
const files = process.argv.slice(2)
const patient = files.filter((file) => PATIENT.includes(file))
const busy = files.filter((file) => !PATIENT.includes(file))
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())

const events = new PassThrough({ objectMode: true })
const lanes = [
  { files: busy, concurrency: 2 },
  { files: patient, concurrency: busy.length > 0 ? 1 : 3 },
].filter((lane) => lane.files.length > 0)
let open = lanes.length
for (const lane of lanes) {
  const stream = run({ ...lane, timeout: TIMEOUT_MS, signal: stop.signal })
  stream.on('end', () => {
    if (--open === 0) events.end()
  })
  stream.pipe(events, { end: false })
}
for await (const text of report(events)) process.stdout.write(text)
if (stop.signal.aborted) process.exitCode = 130

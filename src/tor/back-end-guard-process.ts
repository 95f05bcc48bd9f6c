/**
 * The guard of a back end, a process of its own: see back-end-guard.ts. Hears from the daemon on its standard input. When
 * that ends, or is silent for too long, it takes the service from Tor, over a control connection of its own. After a silence
 * it goes on, since the daemon may; after the end it ends.
 */
import { isAbort } from '../errors.ts'
import { Secret } from '../secret.ts'
import { after, sleep } from '../world.ts'
import { withdrawService } from './back-end.ts'
import { GUARD_LIMITS, type GuardOrder } from './back-end-guard.ts'
import { TorControl } from './control.ts'

process.title = 'fidelity-guard'
// Who stops a service stops all of its processes: this one ends with the daemon, and not before.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

let heard = ''
let order: GuardOrder | undefined
let silentS = 0
const gone = new AbortController()
process.stdin.setEncoding('utf8')
process.stdin.on('data', (chunk) => {
  silentS = 0
  if (order) return
  heard += chunk
  const end = heard.indexOf('\n')
  if (end >= 0) order = JSON.parse(heard.slice(0, end)) as GuardOrder
})
const leave = () => gone.abort(new DOMException('the daemon is gone', 'AbortError'))
process.stdin.on('end', leave)
process.stdin.on('error', leave)

try {
  for (;;) {
    // Seconds that this process has lived through: where the whole machine slept, the daemon was not silent.
    await sleep(1_000, gone.signal)
    if (++silentS >= GUARD_LIMITS.silentS) await withdraw(() => silentS >= GUARD_LIMITS.silentS)
  }
} catch (error) {
  if (!isAbort(error, gone.signal)) throw error
}
const life = new AbortController()
const cancel = after(GUARD_LIMITS.triesMs, () => life.abort())
await withdraw(() => !life.signal.aborted)
cancel()
process.exit(0)

/** Tries as long as it is wanted. Whatever Tor says is no reason to give up earlier: nobody else is left to do it. */
async function withdraw(isWanted: () => boolean): Promise<void> {
  while (order && isWanted()) {
    const { control: port, password, cookieFile, dir } = order
    using control = new TorControl({
      control: port,
      password: password === undefined ? undefined : new Secret(password),
      cookieFile,
    })
    try {
      await control.connect()
      if (isWanted()) await withdrawService(control, dir)
      return
    } catch {
      await sleep(GUARD_LIMITS.pauseMs, new AbortController().signal)
    }
  }
}

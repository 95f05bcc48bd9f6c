/**
 * Tells the service manager how we are: READY, STATUS, WATCHDOG, STOPPING, as sd_notify(3) has them.
 *
 * Node has no Unix datagram sockets, and a native module for four words is not worth its build. So a message is one run
 * of systemd-notify, which is there wherever somebody set NOTIFY_SOCKET; being our child and not the main process it
 * needs NotifyAccess=all, and it waits until the manager has read the message, so it can't be gone before it is
 * attributed to us. A run takes about 5 ms beside us, and there are two per watchdog interval.
 */
import { spawn } from 'node:child_process'
import { describeError } from './errors.ts'
import { after, sleep, type World } from './world.ts'

const LIMITS = {
  /** How often we look whether there is something to say. */
  lookMs: 1_000,
  /** The status is said again at most this often: while catching up it changes every second. */
  statusMs: 5_000,
  /** The manager answers in milliseconds; a stop has to be quick. */
  sendMs: 2_000,
}

export interface Supervisor {
  socket: string
  /** Where systemd-notify is looked for. */
  path: string
  /** Ping within this, if it is to be at all. */
  watchdogMs: number | undefined
}

/** What a service manager has put into the environment of the process it started. */
export function readSupervisor(env: NodeJS.ProcessEnv, pid: number): Supervisor | undefined {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, PATH } = env
  if (!NOTIFY_SOCKET) return undefined
  const watchdogMs = Number(WATCHDOG_USEC) / 1000
  const isOurs = WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid)
  return {
    socket: NOTIFY_SOCKET,
    path: PATH ?? '/usr/bin:/bin',
    watchdogMs: isOurs && watchdogMs > 0 ? watchdogMs : undefined,
  }
}

/**
 * Says READY at once (we listen; whether we are synced is in the status), then the status as it changes and the
 * watchdog's ping, from the same event loop that serves takers: if that stands still, so do the pings.
 */
export async function runNotify(
  supervisor: Supervisor,
  summary: () => string,
  { clock, log }: World,
  signal: AbortSignal,
): Promise<void> {
  let isBroken = false
  const send = async (...words: string[]) => {
    try {
      await notify(supervisor, words)
      isBroken = false
    } catch (error) {
      if (!isBroken) log.error({ detail: describeError(error) }, 'the service manager is not told how we are')
      isBroken = true
    }
    return !isBroken
  }
  // The status that the manager has heard; with the first one it heard READY. What it did not hear is said again.
  let heard: string | undefined
  let triedMs = Number.NEGATIVE_INFINITY
  let pingedMs = Number.NEGATIVE_INFINITY
  const { watchdogMs = Number.POSITIVE_INFINITY } = supervisor
  try {
    for (;;) {
      const nowMs = clock.monotonicMs()
      const text = summary()
      const words: string[] = []
      const isStatusDue = text !== heard && nowMs - triedMs >= LIMITS.statusMs
      if (isStatusDue) {
        if (heard === undefined) words.push('READY=1')
        words.push(`STATUS=${text}`)
        triedMs = nowMs
      }
      if (watchdogMs < Number.POSITIVE_INFINITY && nowMs - pingedMs >= watchdogMs / 2 - LIMITS.lookMs) {
        words.push('WATCHDOG=1')
        pingedMs = nowMs
      }
      if (words.length > 0 && (await send(...words)) && isStatusDue) heard = text
      await sleep(Math.min(LIMITS.lookMs, watchdogMs / 4), signal)
    }
  } finally {
    await send('STOPPING=1', 'STATUS=stopping')
  }
}

function notify({ socket, path }: Supervisor, words: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('systemd-notify', words, {
      stdio: 'ignore',
      env: { PATH: path, NOTIFY_SOCKET: socket },
    })
    const cancel = after(LIMITS.sendMs, () => child.kill('SIGKILL'))
    child.on('error', (error) => {
      cancel()
      reject(error)
    })
    child.on('exit', (code, killed) => {
      cancel()
      if (code === 0) resolve()
      else reject(new Error(`systemd-notify ended with ${code ?? killed}`))
    })
  })
}

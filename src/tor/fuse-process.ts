/**
 * The fuse, a process of its own: relays bytes between the daemon and Tor's control port, and ends when its deadline
 * passes, when the daemon is gone, or when either side closes. Tor then ends the onion services that were added over this
 * connection, whatever has become of the daemon: killed, frozen, or busy for ever. It knows no password and no key beyond
 * the bytes that pass through.
 */
import { connect, Socket } from 'node:net'
import { after, machineMs } from '../world.ts'
import type { TorPort } from './address.ts'
import { FUSE_LINE, type FuseAnswer, type FuseOrder } from './fuse-words.ts'

const LIMITS = {
  /** The daemon gives its first order at once. */
  orderMs: 5_000,
}

process.title = 'fidelity-fuse'
// Who stops a service stops all of its processes: this one ends with the daemon, which has to say goodbye first.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

let untilMs = machineMs() + LIMITS.orderMs
let disarm = after(LIMITS.orderMs, look)
const line = new Socket({ fd: FUSE_LINE, readable: true, writable: true })
line.on('error', cut)
line.on('close', cut)
process.on('disconnect', cut)
process.on('message', (order: FuseOrder) => {
  untilMs = order.untilMs
  disarm()
  look()
  if (order.kind === 'open') open(order.control)
})

/** Ends this process if its time is up; else comes back when it is. */
function look(): void {
  const leftMs = untilMs - machineMs()
  if (leftMs <= 0) return cut()
  disarm = after(leftMs, look)
}

/** The kernel closes both connections, now: nothing that waits here is written any more. */
function cut(): void {
  process.exit(0)
}

function open(control: TorPort): void {
  const tor = connect({ ...control, noDelay: true })
  tor.on('error', (error) => {
    const failed: FuseAnswer = { kind: 'failed', message: error.message }
    process.send!(failed, cut)
  })
  tor.once('connect', () => {
    tor.on('close', cut)
    const localHost = tor.localAddress
    process.send!({ kind: 'open', localHost } satisfies FuseAnswer)
    relay(line, tor)
    relay(tor, line)
  })
}

/** After a freeze the bytes that waited may come before the timer: the clock is asked at each. */
function relay(from: Socket, to: Socket): void {
  from.on('data', (chunk) => {
    if (machineMs() >= untilMs) return cut()
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
}

/**
 * What the daemon and its fuse say to each other (Node's IPC channel). Moments are on this machine's monotonic clock
 * (`machineMs`), which is the same for both: a word that comes late does not make a deadline later.
 */
import type { TorPort } from './address.ts'

/** From the daemon: first `open`, then `renew` as often as it likes. */
export type FuseOrder = { kind: 'open'; control: TorPort; untilMs: number } | { kind: 'renew'; untilMs: number }

/** From the fuse, once: the answer to `open`. `localHost`: its own side of the connection, undefined over a Unix socket. */
export type FuseAnswer = { kind: 'open'; localHost: string | undefined } | { kind: 'failed'; message: string }

/** The child's files after standard input, output and error: the words, and the bytes for Tor. */
export const FUSE_IPC = 3
export const FUSE_LINE = 4

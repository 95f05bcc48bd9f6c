/**
 * The line that Tor puts first on each stream of an onion service with `HiddenServiceExportCircuitID haproxy`: the HAProxy
 * PROXY protocol, version 1, whose source address stands for the circuit, as in
 * `PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 65535 42\r\n`. A stranger can't do without it, nor put one before it.
 * It can't be taken for a frame: as a length `PROX` is more than a gigabyte. Sources: tor(1), HiddenServiceExportCircuitID;
 * HAProxy, "The PROXY protocol", section 2.1. Pure.
 */

/** The longest line of version 1, CRLF included. */
const LINE_BYTES_MAX = 107
const START = Buffer.from('PROXY ')

export type ProxyLine =
  /** More has to come before it can be told. */
  | { kind: 'partial' }
  /** What comes are frames: somebody on this machine. */
  | { kind: 'none' }
  /** `bytes`: its length. `circuit`: the source address; absent where the line names none. */
  | { kind: 'line'; bytes: number; circuit?: string }
  /** It begins as one, and is none. */
  | { kind: 'broken' }

export function readProxyLine(head: Buffer): ProxyLine {
  const known = Math.min(head.length, START.length)
  if (!head.subarray(0, known).equals(START.subarray(0, known))) return { kind: 'none' }
  const end = head.subarray(0, LINE_BYTES_MAX).indexOf('\r\n')
  if (end < 0) return { kind: head.length < LINE_BYTES_MAX ? 'partial' : 'broken' }
  const [, family, source = '', ...rest] = head.toString('latin1', 0, end).split(' ')
  const bytes = end + 2
  if (family === 'UNKNOWN') return { kind: 'line', bytes }
  const isWhole = (family === 'TCP6' || family === 'TCP4') && rest.length === 3 && /^[0-9a-fA-F:.]{2,45}$/.test(source)
  return isWhole ? { kind: 'line', bytes, circuit: source } : { kind: 'broken' }
}

/** Where Tor usually is, looked at when it is not where the settings say: what answers there is named, with the settings. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { formatTorPort, type TorPort } from '../tor/address.ts'

const LIMITS = {
  /** Tor is on this machine or near: it answers at once. */
  answerMs: 5_000,
}

export interface TorPlaceKnown {
  /** Whose Tor it is, as a sentence begins. */
  what: string
  socks: TorPort
  control: TorPort
  /** As the settings take them. */
  flags: { socks: string; control: string }
}

const USUAL_PLACES: readonly TorPlaceKnown[] = [
  {
    what: "Debian's Tor",
    socks: { path: '/run/tor/socks' },
    control: { path: '/run/tor/control' },
    flags: { socks: '--socks-port unix:/run/tor/socks', control: '--control-port unix:/run/tor/control' },
  },
  {
    what: 'Tor',
    socks: { host: '127.0.0.1', port: 9050 },
    control: { host: '127.0.0.1', port: 9051 },
    flags: { socks: '--socks-port 9050', control: '--control-port 9051' },
  },
  {
    what: "Tor Browser's Tor",
    socks: { host: '127.0.0.1', port: 9150 },
    control: { host: '127.0.0.1', port: 9151 },
    flags: { socks: '--socks-port 9150', control: '--control-port 9151' },
  },
]

/**
 * The first of the usual places with Tor, as the beginning of an advice: "Tor Browser's Tor answers at 127.0.0.1:9150 and
 * 127.0.0.1:9151: --socks-port 9150 --control-port 9151; or: ". Undefined where there is none. `wanted` was looked for at
 * `besides`.
 */
export async function findTor(
  wanted: 'socks' | 'control',
  besides: TorPort,
  places = USUAL_PLACES,
): Promise<string | undefined> {
  for (const { what, socks, control, flags } of places) {
    const [hasSocks, hasControl] = await Promise.all([
      answersSocks(socks).catch(() => false),
      answersControl(control).catch(() => false),
    ])
    const isThere = wanted === 'socks' ? hasSocks : hasControl
    const isSame = formatTorPort(wanted === 'socks' ? socks : control) === formatTorPort(besides)
    if (!isThere || isSame) continue
    const found = [
      ...(hasSocks ? [['socks', socks] as const] : []),
      ...(hasControl ? [['control', control] as const] : []),
    ]
    const at = found.map(([, port]) => formatTorPort(port)).join(' and ')
    return `${what} answers at ${at}: ${found.map(([name]) => flags[name]).join(' ')}; or: `
  }
  return undefined
}

/** RFC 1928: version 5, one method offered: user and password, by which streams are kept apart. Throws when nobody listens. */
export async function answersSocks(port: TorPort): Promise<boolean> {
  const answer = await firstWords(port, Buffer.of(5, 1, 2))
  return answer[0] === 5 && answer[1] === 2
}

async function answersControl(port: TorPort): Promise<boolean> {
  return (await firstWords(port, Buffer.from('PROTOCOLINFO 1\r\n'))).toString('latin1').startsWith('250-PROTOCOLINFO ')
}

/** What comes first in answer to `greeting`; nothing where the other side says nothing, and ends. Throws when nobody listens. */
async function firstWords(port: TorPort, greeting: Buffer): Promise<Buffer> {
  const socket = connect({ ...port })
  const late = new Error(`no connection within ${LIMITS.answerMs / 1000} s`)
  socket.setTimeout(LIMITS.answerMs, () => socket.destroy(socket.connecting ? late : undefined))
  try {
    await once(socket, 'connect')
    socket.write(greeting)
    return await Promise.race([
      once(socket, 'data').then(([chunk]) => chunk as Buffer),
      once(socket, 'close').then(() => Buffer.alloc(0)),
    ])
  } finally {
    socket.on('error', () => {})
    socket.destroy()
  }
}

/** The attack on one onion service from one circuit, over a private Tor network. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { formatHostPort, type HostPort, parseHostPort } from '../../../src/tor/address.ts'
import { dial, freshIsolation } from '../../../src/tor/socks.ts'
import { ask } from '../../../src/wire/client.ts'
import { waitUntil } from '../../../test/sandbox/wait.ts'
import type { Attack } from './attack.ts'
import { count, madeUp, times } from './load.ts'

const STREAMS = 1_050
const HONEST = 5
const DIAL_MS = 60_000
/** All of them have been begun; how many come to be is the tracker's affair, and Tor's. */
const SETTLE_MS = 15_000

const oneCircuit: Attack = {
  number: 5,
  what: `${STREAMS.toLocaleString('en')} streams on one circuit, each subscribed`,
  needsTor: true,
  async beside({ tracker, tor }) {
    const line = await waitUntil('it is published', () => tracker.logged('onion service published'), {
      timeoutMs: 90_000,
    })
    const onion = parseHostPort(String(line.onionAddress))!
    const sockets = await Promise.all(times(HONEST, () => subscribed(onion, tor[2]!.socks, freshIsolation())))
    const closed = new Set<Socket>()
    for (const socket of sockets) socket.resume().on('close', () => closed.add(socket))
    return {
      data: { onion: formatHostPort(onion), socks: formatHostPort(tor[1]!.socks) },
      losses: () => (closed.size > 0 ? [`${closed.size} of ${HONEST} subscriptions over Tor lost`] : []),
      [Symbol.dispose]: () => {
        for (const socket of sockets) socket.destroy()
      },
    }
  },
  async launch({ data }) {
    const onion = parseHostPort(data.onion)!
    const socks = parseHostPort(data.socks)!
    const isolation = freshIsolation()
    for (let n = 0; n < STREAMS; n++) {
      void stay(() => subscribed(onion, socks, isolation))
      if (n % 75 === 74) await pause(500)
    }
    await pause(SETTLE_MS)
  },
}

/** One of the streams, opened again whenever it is refused or ends: it may never come to be. */
async function stay(subscribe: () => Promise<Socket>): Promise<void> {
  for (;;) {
    try {
      const socket = await subscribe()
      count('subscribed')
      await once(socket.resume(), 'close')
      count('closed')
    } catch {
      count('refused')
    }
    await pause(1_000)
  }
}

/** A stream through Tor with one subscription. */
async function subscribed(onion: HostPort, socks: HostPort, isolation: string): Promise<Socket> {
  const signal = new AbortController().signal
  const socket = await dial(onion, { socks, timeoutMs: DIAL_MS, signal, isolation })
  const reply = await ask(socket, { type: 'Subscribe', outpoints: madeUp(1) }, { timeoutMs: DIAL_MS })
  if (reply.type !== 'Spends') throw new Error(`refused: ${reply.type}`)
  return socket
}

export const CIRCUIT_ATTACKS = [oneCircuit]

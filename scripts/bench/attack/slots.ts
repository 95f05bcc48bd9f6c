/** Attacks on the places there are: connections that say nothing, that come and go, that never read. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Attack } from './attack.ts'
import { framed, hold, open, times } from './load.ts'

const silent: Attack = {
  number: 6,
  what: '2,000 connections that only connect',
  launch: ({ port }) => hold(2_000, port),
}

const neverRead: Attack = {
  number: 12,
  what: '300 readers that never read',
  launch({ port }) {
    const lists = Buffer.concat([
      ...times(20, () => framed({ type: 'Bonds', all: true, limit: 1_000 })),
      ...times(20, () => framed({ type: 'Get' })),
    ])
    return hold(300, port, (socket) => {
      socket.pause()
      socket.write(lists)
    })
  },
}

const PER_SECOND = 1_364

const comeAndGo: Attack = {
  number: 19,
  what: `${PER_SECOND.toLocaleString('en')} new connections a second, each asks Status and stays`,
  launch({ port }) {
    const frame = framed({ type: 'Status' })
    const startMs = performance.now()
    let dialled = 0
    setInterval(() => {
      const due = ((performance.now() - startMs) * PER_SECOND) / 1000
      // What could not be dialled in time is not made up for: no bursts.
      dialled = Math.max(dialled, due - PER_SECOND / 10)
      for (; dialled < due; dialled++) {
        open(port).resume().write(frame)
      }
    }, 5)
  },
}

const streams: Attack = {
  number: 16,
  what: 'HTTP: 1,000 event streams that do not read',
  launch({ httpPort }) {
    const request = `GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:${httpPort}\r\nAccept: text/event-stream\r\n\r\n`
    return hold(1_000, httpPort, (socket) => {
      socket.pause()
      socket.write(request)
    })
  },
  /** Blocks, so that there is something to tell; and the operator, who has a question meanwhile. */
  async meanwhile({ node, tracker }, forMs) {
    const endMs = performance.now() + forMs
    let refused = 0
    while (performance.now() < endMs) {
      await node.mine(1)
      const asked = fetch(`http://127.0.0.1:${tracker.httpPort}/health/live`, { signal: AbortSignal.timeout(5_000) })
      refused += await asked.then(({ ok }) => (ok ? 0 : 1)).catch(() => 1)
      await pause(500)
    }
    return refused > 0 ? [`the operator's HTTP was not answered ${refused} times`] : []
  },
}

export const SLOT_ATTACKS = [silent, neverRead, streams, comeAndGo]

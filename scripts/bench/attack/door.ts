/** The attack at the Nostr door: events to be checked, lists asked for without end, filters that compare much, no reading. */
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { signEvent } from '../../../test/sandbox/nostr/signed-event.ts'
import { makerEvent } from '../../../test/sandbox/nostr/sim-maker.ts'
import { txidOf } from '../../../test/support/bonds.ts'
import { DoorLoad, maskedText, UPGRADE, WordCounter } from '../../../test/support/door-load.ts'
import { quantile } from '../report.ts'
import type { Attack } from './attack.ts'
import { count, open, times } from './load.ts'

const EVENTS = 200
const IN_FLIGHT = 8
const LIST = maskedText('["REQ","honest",{"kinds":[37780]}]')
const EOSE = '["EOSE"'
/** An honest taker at the same door: longer than this is a loss. */
const LIST_MS_MAX = 1_000
const EVERY_MS = 250

/** Connected again whenever it ends; `next` follows each answer that has `word` in it. */
function ask(port: number, next: () => Buffer, word: string): void {
  const dial = () => {
    const socket = upgraded(port)
    const answers = new WordCounter(word)
    const say = (n: number) => {
      count('messages', n)
      for (let i = 0; i < n; i++) socket.write(next())
    }
    socket.on('connect', () => say(IN_FLIGHT))
    socket.on('data', (chunk) => {
      const answered = answers.take(chunk)
      count('answers', answered)
      say(answered)
    })
    socket.on('close', () => setTimeout(dial, 200))
  }
  dial()
}

function upgraded(port: number): Socket {
  const socket = open(port)
  socket.on('connect', () => socket.write(UPGRADE))
  return socket
}

/** A thousand values to compare each event with, in 3 kB. */
const COMPARING = JSON.stringify({ '#d': times(998, (i) => String(i % 10)), kinds: [37_780] })

const atTheDoor: Attack = {
  number: 15,
  what: 'EVENTs and REQs at the Nostr door, from 48 connections, and 300 that never read',
  async launch({ nostrPort: port }) {
    const right = times(EVENTS, (i) => makerEvent(txidOf(i)))
    const forged = right.map((event) => ({ ...event, sig: signEvent(event).sig }))
    const events = [...right, ...forged].map((event) => maskedText(JSON.stringify(['EVENT', event])))
    let n = 0
    for (let i = 0; i < 16; i++) ask(port, () => events[n++ % events.length]!, '["OK"')
    for (let i = 0; i < 16; i++) ask(port, () => maskedText(`["REQ","s${n++ % 30}",{}]`), EOSE)
    for (let i = 0; i < 16; i++) ask(port, () => maskedText(`["REQ","c${n++ % 5}",${COMPARING}]`), EOSE)
    for (let i = 0; i < 300; i++) {
      const socket = upgraded(port).pause()
      socket.on('connect', () => {
        for (let k = 0; k < 40; k++) socket.write(maskedText(`["REQ","r${k % 20}",{}]`))
      })
      if (i % 50 === 49) await pause(10)
    }
    await pause(500)
  },
  /** Takers at the same door: one that was there before stays subscribed, one that asks now and then is answered. */
  async beside({ tracker }) {
    const subscribed = await DoorLoad.open(tracker.nostrPort!)
    await subscribed.ask(LIST, EOSE)
    let isLost = false
    subscribed.socket.on('close', () => {
      isLost = true
    })
    return {
      losses: () => (isLost ? ['a taker’s subscription at the Nostr door was lost'] : []),
      [Symbol.dispose]: () => void subscribed.socket.destroy(),
    }
  },
  async meanwhile({ tracker }, forMs) {
    const taker = await DoorLoad.open(tracker.nostrPort!)
    const tookMs: number[] = []
    const endMs = performance.now() + forMs
    try {
      while (performance.now() < endMs) {
        tookMs.push(await taker.ask(LIST, EOSE))
        await pause(EVERY_MS)
      }
    } finally {
      taker.socket.destroy()
    }
    const [median, most] = [quantile(tookMs, 0.5), Math.max(...tookMs)].map((ms) => ms.toFixed(1))
    process.stdout.write(`   a taker at the door: ${tookMs.length} lists, p50 ${median} ms, longest ${most} ms\n`)
    const late = tookMs.filter((ms) => ms > LIST_MS_MAX).length
    return late > 0 ? [`${late} of ${tookMs.length} lists at the Nostr door took more than ${LIST_MS_MAX} ms`] : []
  },
}

export const DOOR_ATTACKS = [atTheDoor]

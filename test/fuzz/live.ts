/**
 * The whole daemon over TCP: hostile frames at the takers' door, hostile messages and frames at the Nostr door, hostile
 * requests at the operator's, after which an honest client must still be answered, the log hold no error, and the process run.
 */
import { connect } from 'node:net'
import { encodeFrame } from '../../src/wire/frame.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { maskedText, UPGRADE } from '../support/door-load.ts'
import { Chance } from './chance.ts'
import { DOOR_SEEDS } from './door-targets.ts'
import { type Find, inputOf } from './fuzz.ts'
import { mutate } from './mutate.ts'
import { targetOf } from './targets.ts'

/** Inputs at a time, each on a connection of its own. */
const AT_ONCE = 16
/** From the last byte of an input to the end of its connection: half closed, it has nothing to wait for. */
const PATIENCE_MS = 20_000
const WARN = 40
const FINDS_MAX = 20
const NOTHING = Buffer.alloc(0)

/** Its name among the targets. */
export const LIVE = 'live'

const PATHS = [
  ...[
    '/',
    '/metrics',
    '/openapi.json',
    '/health/ready',
    '/api/v1/status',
    '/api/v1/makers?limit=1',
    '/api/v1/trackers',
  ],
  ...['/api/v1/bonds?limit=5&min_value=1&all=true', `/api/v1/bonds/${'ab'.repeat(32)}/0`, '/api/v1/makers/127.0.0.1:1'],
  ...[`/api/v1/spends/${'ab'.repeat(32)}/1`, '/api/v1/why/127.0.0.1:6102', '/api/v1/history?points=5&from=1'],
]

function httpSeeds(port: number): Buffer[] {
  return PATHS.map((path) =>
    Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`),
  )
}

export interface LiveLimits {
  inputs: number
  forMs: number
}

/** Throws when an honest client is not answered any more. */
export async function fuzzLive(
  tracker: Tracker,
  seed: number,
  { inputs, forMs }: LiveLimits,
): Promise<{ tried: number; finds: Find[] }> {
  const wire = ['frames', 'requests'].map(targetOf)
  const http = httpSeeds(tracker.httpPort!)
  const finds: Find[] = []
  const endMs = performance.now() + forMs
  let tried = 0
  while (tried < inputs && performance.now() < endMs && finds.length < FINDS_MAX) {
    const first = seed + tried
    const count = Math.min(AT_ONCE, inputs - tried)
    const note = (at: number, input: Buffer, what: string) => finds.push({ target: LIVE, seed: at, input, what })
    const logged = tracker.log.length
    const said = await Promise.all(
      Array.from({ length: count }, (_, i) => {
        const chance = new Chance(first + i)
        if (chance.oneIn(3)) return toNostr(tracker.nostrPort!, doorInput(chance))
        if (chance.oneIn(3)) return toHttp(tracker.httpPort!, mutate(http, chance))
        const target = chance.pick(wire)
        const { input } = inputOf(target, first + i)
        return toWire(tracker.port, target.name === 'frames' ? input : encodeFrame(input))
      }),
    )
    tried += count
    for (const [i, { fault, input }] of said.entries()) if (fault !== undefined) note(first + i, input, fault)
    const together = `one of ${count} inputs from this seed on`
    for (const line of tracker.log.slice(logged)) {
      if (line.level > WARN) note(first, NOTHING, `${together}: the log says ${JSON.stringify(line).slice(0, 1_000)}`)
    }
    if (!tracker.isRunning) {
      note(first, NOTHING, `${together}: the daemon has ended: ${tracker.stderr.slice(-1_000)}`)
      break
    }
    await tracker.ask({ type: 'Status' }, 'Status')
  }
  return { tried, finds }
}

interface Said {
  input: Buffer
  /** What the daemon must not have said. */
  fault?: string
}

async function toWire(port: number, input: Buffer): Promise<Said> {
  const answer = await exchange(port, input)
  if (answer === undefined)
    return { input, fault: `the connection is open ${PATIENCE_MS / 1000} s after the last byte` }
  return answer.includes('internal', 0, 'latin1') && answer.includes('failed to answer', 0, 'latin1')
    ? { input, fault: 'answered that a request failed' }
    : { input }
}

/** The upgrade and messages or frames after it, all of which may be spoilt; the client's goodbye at the end. */
function doorInput(chance: Chance): Buffer {
  const text = mutate(DOOR_SEEDS, chance)
  if (chance.oneIn(5)) return mutate([Buffer.concat([UPGRADE, maskedText(String(text))])], chance)
  if (chance.oneIn(3)) return Buffer.concat([UPGRADE, mutate([maskedText(String(DOOR_SEEDS[1]))], chance)])
  return Buffer.concat([UPGRADE, maskedText(text.toString('latin1')), GOODBYE])
}

const GOODBYE = Buffer.of(0x88, 0x80, 0, 0, 0, 0)

async function toNostr(port: number, input: Buffer): Promise<Said> {
  const answer = await exchange(port, input)
  if (answer === undefined)
    return { input, fault: `the connection is open ${PATIENCE_MS / 1000} s after the last byte` }
  return answer.includes('failed to answer') ? { input, fault: 'answered that it failed' } : { input }
}

async function toHttp(port: number, input: Buffer): Promise<Said> {
  const answer = await exchange(port, input)
  if (answer === undefined)
    return { input, fault: `the connection is open ${PATIENCE_MS / 1000} s after the last byte` }
  const status = /^HTTP\/1\.1 (\d+)/.exec(answer.toString('latin1', 0, 40))?.[1]
  return status === '500' ? { input, fault: `answered 500: ${answer.toString('latin1', 0, 600)}` } : { input }
}

/** What was answered until the far end closed; undefined when it has not. */
function exchange(port: number, input: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = connect({ host: '127.0.0.1', port })
    const timer = setTimeout(() => {
      resolve(undefined)
      socket.destroy()
    }, PATIENCE_MS)
    socket.on('error', () => {}) // a reset is an end like another
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks))
    })
    socket.end(input)
  })
}

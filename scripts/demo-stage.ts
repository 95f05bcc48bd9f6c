/** What both demos are told on: lines of text, what was expected and didn't come, Ctrl-C, and dials through Tor. */
import { createHash } from 'node:crypto'
import type { connect } from 'node:net'
import { describeError } from '../src/errors.ts'
import { type HostPort, onionHostOf, parseHostPort } from '../src/tor/address.ts'
import { expandSeed } from '../src/tor/key.ts'
import { dial } from '../src/tor/socks.ts'
import { ask } from '../src/wire/client.ts'
import type { Reply, Request } from '../src/wire/messages.ts'

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort())
export const stop = stopping.signal
export const stopped = new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }))

export const step = (text: string): void => say(`\n== ${text}`)
export const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** A stop while something is being set up ends the demo there. */
export const orStop = <T>(work: Promise<T>): Promise<T> =>
  Promise.race([work, stopped.then(() => Promise.reject(new Stopped()))])
class Stopped extends Error {}

const problems: string[] = []
export function expect(isTrue: boolean, problem: string): void {
  if (!isTrue) problems.push(problem)
}

/** The end of the story; sets the exit code. */
export function sayVerdict(): void {
  if (problems.length === 0) {
    say('\nEverything is as it should be.')
    return
  }
  process.exitCode = 1
  say(`\nNOT AS IT SHOULD BE:\n${problems.map((problem) => `- ${problem}`).join('\n')}`)
}

/** Only `--once` may be given: true then. Anything else ends the program. */
export function isOnceIn(args: readonly string[]): boolean {
  const unknown = args.filter((arg) => arg !== '--once')
  if (unknown.length === 0) return args.includes('--once')
  process.stderr.write(`demo: unknown argument ${unknown.join(' ')} (only --three and --once can be given)\n`)
  process.exit(2)
}

/** Whatever fails ends the demo with one line. */
export async function play(demo: () => Promise<void>): Promise<void> {
  try {
    await demo()
  } catch (error) {
    // A Ctrl-C reaches what we started as well: whatever failed after it failed because of it.
    if (stop.aborted) say('stopped before it was done')
    else process.stderr.write(`\ndemo: ${describeError(error)}\n`)
    process.exitCode = stop.aborted ? 130 : 1
  }
}

/** The name of an onion service that is nobody else's, the same each time. */
export function onionHost(name: string): string {
  return onionHostOf(expandSeed(createHash('sha256').update(name).digest()).publicKey)
}

/** A fresh circuit can fail once: as takers do, try again. */
export async function dialTor(
  target: HostPort,
  socks: HostPort,
  isolation: string,
): Promise<ReturnType<typeof connect>> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await dial(target, { socks, isolation: `${isolation}-${attempt}`, timeoutMs: 60_000, signal: stop })
    } catch (error) {
      if (attempt === 3 || stop.aborted) throw error
    }
  }
}

/** One request on a connection of its own. */
export async function askThroughTor(
  address: string,
  socks: HostPort,
  isolation: string,
  request: Request,
): Promise<Reply> {
  const socket = await dialTor(parseHostPort(address)!, socks, isolation)
  try {
    return await ask(socket, request, { timeoutMs: 60_000 })
  } finally {
    socket.destroy()
  }
}

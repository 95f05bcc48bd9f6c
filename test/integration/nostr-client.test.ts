/**
 * The Nostr door as a client by others finds it: nostr-sdk (nostr-client.py) shares no code with us, drops by itself whatever
 * is not signed rightly or wasn't asked for, and is of the family that the market's programs are built on.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { bondKey } from '../sandbox/bond-key.ts'
import { Relay } from '../sandbox/nostr/relay.ts'
import { MARKET_KINDS, type SignedEvent } from '../sandbox/nostr/signed-event.ts'
import { makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'

const SCRIPT = new URL('./nostr-client.py', import.meta.url).pathname
const PYTHON = process.env.NOSTR_SDK_PYTHON

/** A line of nostr-client.py. */
interface Told {
  event?: SignedEvent
  isVerified?: boolean
  eose?: true
  ok?: string
  isAccepted?: boolean
  text?: string
  other?: string
}

class SdkClient implements AsyncDisposable {
  readonly told: Told[] = []
  readonly #process: ChildProcess

  /** Subscribes at once. */
  constructor(url: string) {
    if (PYTHON === undefined || !existsSync(PYTHON))
      throw new Error('NOSTR_SDK_PYTHON names no Python with nostr-sdk: run scripts/test.sh, which brings one')
    const command = ['--pdeathsig', 'KILL', PYTHON, SCRIPT, url, String(MARKET_KINDS.regtest)]
    this.#process = spawn('setpriv', command, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#process.stdout! }).on('line', (line) => this.told.push(JSON.parse(line)))
  }

  get events(): SignedEvent[] {
    return this.told.flatMap(({ event }) => event ?? [])
  }

  heard<T>(what: string, find: (told: readonly Told[]) => T): Promise<NonNullable<Exclude<T, false>>> {
    return waitUntil(`the client has ${what}`, () => {
      const { exitCode } = this.#process
      if (exitCode !== null) throw new Error(`the client has ended with ${exitCode}`)
      return find(this.told)
    })
  }

  /** Sends a message as it is, or signs an event like this one with a key of its own and publishes it. */
  say(command: { send: unknown[] } | { publish: SignedEvent }): void {
    this.#process.stdin!.write(`${JSON.stringify(command)}\n`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin!.end()
    if (this.#process.exitCode === null) await once(this.#process, 'exit')
  }
}

const isEose = (told: readonly Told[]) => told.some(({ eose }) => eose)

test('it drops what a careless relay serves forged: it would not take it from us either', async () => {
  await using relay = await Relay.start()
  const good = makerEvent('ab'.repeat(32))
  const forged = [
    { ...makerEvent('ac'.repeat(32)), sig: '0'.repeat(128) },
    { ...makerEvent('ad'.repeat(32)), content: `${'ae'.repeat(32)}:0` },
  ]
  await relay.store(good, ...forged)
  await using client = new SdkClient(relay.url)
  await client.heard('EOSE', isEose)
  assert.deepEqual(
    client.events.map(({ id }) => id),
    [good.id],
  )
})

test('it gets every bond and EOSE, verifies us, hears of a new one, and its own events are answered', async () => {
  await using node = await Regtest.start()
  const fund = (name: string) => node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
  const bonds = []
  for (const name of ['one', 'two', 'three', 'four', 'five']) bonds.push(await fund(name))
  await node.mine(1)
  await using tracker = await Tracker.start(node, { nostr: true })
  // Not caught up yet: the subscription is held until the list is whole.
  await tracker.said('listening')
  await using client = new SdkClient(`ws://127.0.0.1:${tracker.nostrPort}`)
  await client.heard('EOSE', isEose)
  const contents = () => client.events.map(({ content }) => content).sort()
  assert.deepEqual(contents(), bonds.map(({ txid }) => `${txid}:0`).sort())
  assert.ok(client.told.every(({ event, isVerified }) => event === undefined || isVerified))
  assert.equal(new Set(client.events.map(({ pubkey }) => pubkey)).size, 1, 'one key, the tracker’s')

  const late = await fund('late')
  await node.mine(1)
  await client.heard('the new bond', () => contents().includes(`${late.txid}:0`))
  const at = (find: (told: Told) => unknown) => client.told.findIndex(find)
  assert.ok(at(({ eose }) => eose) < at(({ event }) => event?.content === `${late.txid}:0`), 'after EOSE')

  const maker = makerEvent(late.txid)
  client.say({ publish: maker })
  const { isAccepted, text } = await client.heard('an OK', (told) => told.find(({ ok }) => ok))
  assert.deepEqual({ isAccepted, text }, { isAccepted: true, text: '' })

  const broken: [string, SignedEvent][] = [
    ['signature', { ...makerEvent(late.txid), sig: maker.sig }],
    ['id', { ...makerEvent(late.txid), created_at: maker.created_at - 1 }],
    ['kind', makerEvent(late.txid, { network: 'signet' })],
  ]
  for (const [what, event] of broken) {
    client.say({ send: ['EVENT', event] })
    const answer = await client.heard(`the OK of a wrong ${what}`, (told) => told.find(({ ok }) => ok === event.id))
    assert.equal(answer.isAccepted, false)
    assert.match(answer.text!, new RegExp(`^invalid: .*${what}`))
  }
  assert.deepEqual(
    client.told.filter(({ other }) => other),
    [],
    'nothing but events, EOSE and OK',
  )
})

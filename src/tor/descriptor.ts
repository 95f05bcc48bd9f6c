/**
 * What a stranger finds of our onion service: its descriptor as the directories (HSDirs) hand it out, fetched afresh, and
 * beside it the one that our own Tor made. A fetched descriptor replaces the one that our Tor keeps as a client, if it is
 * newer: whoever dials after that goes the stranger's way. Sources: control-spec (HSFETCH, HS_DESC, HS_DESC_CONTENT,
 * GETINFO hs/service/desc/id, SIGNAL NEWNYM), rend-spec-v3 (outer descriptor, revision counter), cert-spec.
 */
import { raceAbort, ScopedAbort } from '../concurrency.ts'
import { AccessRefused, TransientError } from '../errors.ts'
import { after, type Clock } from '../world.ts'
import { type ControlOptions, TorControl } from './control.ts'
import { TorRefusal } from './refusals.ts'

const LIMITS = {
  /** A directory answers within seconds, over a circuit that may have to be built first. */
  fetchMs: 20_000,
  /** Tor says at once which directory it asks; where it says nothing it has asked them all within a quarter of an hour. */
  requestMs: 2_000,
  /** Of the six to eight that have it: one that fails is passed over, as by every client. */
  tries: 3,
  /** Between two times that Tor is made to forget: it forgets others' descriptors as well, and builds new circuits. */
  forgetMs: 300_000,
  /** Directories that Tor has asked before, by which it can be made to ask again; of one time period there are few. */
  directoriesKept: 16,
}

/** What is readable of a descriptor without the service's name. */
export interface Descriptor {
  /** Grows with each that is made of the same key in the same time period, whoever makes it. */
  revision: bigint
  /** Base64 of the service's key blinded for the time period: descriptors with another one can't be compared. */
  blindedKey: string
  /** Base64 of the key that signs it: Tor makes a new one for each time period of each service that is added. */
  signingKey: string
}

/** What became of a look. */
export type DescriptorLook =
  /** `own`: what our Tor calls its current one; undefined where it doesn't tell. For half of each day it is another time period's. */
  | { kind: 'fetched'; fetched: Descriptor; own: Descriptor | undefined }
  /** It can't be fetched, but Tor has forgotten what it kept (NEWNYM): whoever dials next has it fetched. */
  | { kind: 'forgotten' }
  /** None of the directories that were asked has given one. `isDenied`: one of them has said that it has none. */
  | { kind: 'missing'; isDenied: boolean; detail: string }
  /** It can't be looked for: no control port, or a filter before it. */
  | { kind: 'unseen'; detail: string }

/**
 * Another one than our Tor has made, and newer: somebody else has our key. From the start of a time period until the next
 * shared random value clients use the new period's descriptor, and Tor shows the old period's: then it is compared with
 * `proof`, a look whose descriptor has led to us. It is good for as long as our Tor shows the one that it showed then.
 */
export function isOfSomebodyElse(look: DescriptorLook, proof?: DescriptorLook): boolean {
  if (look.kind !== 'fetched' || look.own === undefined) return false
  const { fetched, own } = look
  if (own.blindedKey === fetched.blindedKey) return fetched.revision > own.revision
  if (proof?.kind !== 'fetched' || proof.own?.signingKey !== own.signingKey) return false
  const ours = proof.fetched
  if (ours.blindedKey !== fetched.blindedKey || ours.signingKey === fetched.signingKey) return false
  return fetched.revision > ours.revision
}

/** Undefined for what is no descriptor of version 3. */
export function parseDescriptor(text: string): Descriptor | undefined {
  const revision = /^revision-counter (\d{1,20})$/m.exec(text)?.[1]
  const certificate = /^descriptor-signing-key-cert\n-----BEGIN ED25519 CERT-----\n([A-Za-z0-9+/=\n]{1,400})\n-----END/m
    .exec(text)?.[1]
    ?.replaceAll('\n', '')
  if (!text.startsWith('hs-descriptor 3\n') || revision === undefined || certificate === undefined) return undefined
  const bytes = Buffer.from(certificate, 'base64')
  const blindedKey = signedWithOf(bytes)
  if (blindedKey === undefined) return undefined
  return { revision: BigInt(revision), blindedKey, signingKey: base64(bytes.subarray(7, 39)) }
}

/** cert-spec: version, type, hours until it ends (4), key type, key (32), extensions; 04 is the key that has signed. */
function signedWithOf(certificate: Buffer): string | undefined {
  if (certificate.length < 40) return undefined
  let at = 40
  for (let left = certificate[39]!; left > 0 && at + 4 <= certificate.length; left--) {
    const length = certificate.readUInt16BE(at)
    if (certificate[at + 2] === 4 && length === 32) {
      const key = certificate.subarray(at + 4, at + 36)
      return key.length === 32 ? base64(key) : undefined
    }
    at += 4 + length
  }
  return undefined
}

const base64 = (key: Buffer) => key.toString('base64').replace(/=+$/, '')

/** What Tor tells of a fetch; the event's text as it came, or its silence. */
type Told = { kind: 'asked' | 'received' | 'failed'; directory: string; reason: string }

export class DescriptorLooks {
  readonly #options: ControlOptions
  readonly #clock: Pick<Clock, 'monotonicMs'>
  #forgotMs = Number.NEGATIVE_INFINITY
  /** Those that Tor has asked for us in this time period, as it names them: `$<fingerprint>~<nickname>`. */
  readonly #directories = new Set<string>()
  #turn = 0

  constructor(options: ControlOptions, clock: Pick<Clock, 'monotonicMs'>) {
    this.#options = options
    this.#clock = clock
  }

  /**
   * Fetches the descriptor of `onionHost` from a directory, another one each time. Rejects with the signal's reason, and
   * with nothing else: what Tor or its control port refuse is told as `unseen`.
   */
  async look(onionHost: string, signal: AbortSignal): Promise<DescriptorLook> {
    using control = new TorControl(this.#options)
    using life = new ScopedAbort(signal)
    void control.closed.then((reason) => life.abort(reason))
    try {
      return await raceAbort(this.#look(control, onionHost.replace(/\.onion$/, ''), life.signal), life.signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof TorRefusal || error instanceof TransientError || error instanceof AccessRefused) {
        return { kind: 'unseen', detail: error.message }
      }
      throw error
    }
  }

  async #look(control: TorControl, id: string, signal: AbortSignal): Promise<DescriptorLook> {
    await control.connect()
    try {
      return await this.#fetch(control, id, signal)
    } catch (error) {
      if (!(error instanceof TorRefusal)) throw error
      return await this.#forget(control, error)
    }
  }

  /** The second way, where a filter does not let us fetch. */
  async #forget(control: TorControl, refusal: TorRefusal): Promise<DescriptorLook> {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#forgotMs < LIMITS.forgetMs) return { kind: 'unseen', detail: refusal.message }
    try {
      await control.must('SIGNAL NEWNYM')
    } catch (error) {
      if (error instanceof TorRefusal) return { kind: 'unseen', detail: refusal.message }
      throw error
    }
    this.#forgotMs = nowMs
    return { kind: 'forgotten' }
  }

  async #fetch(control: TorControl, id: string, signal: AbortSignal): Promise<DescriptorLook> {
    const fetch = new Fetch(id)
    await control.subscribe(['HS_DESC', 'HS_DESC_CONTENT'], (event) => fetch.note(event))
    let detail = 'no directory answered'
    let isDenied = false
    for (let tries = 0; tries < LIMITS.tries; tries++) {
      const told = await this.#ask(control, id, fetch, signal)
      if (told.kind === 'received') {
        const fetched = await fetch.content(signal)
        if (!fetched)
          return { kind: 'missing', isDenied, detail: `${told.directory} gave something that is no descriptor` }
        const own = parseDescriptor(await ownDescriptor(control, id))
        return { kind: 'fetched', fetched, own }
      }
      detail =
        told.kind === 'failed' ? `${told.directory || 'Tor'}: ${told.reason}` : `${told.directory} does not answer`
      isDenied ||= told.reason === 'NOT_FOUND'
      this.#directories.delete(told.directory)
    }
    return { kind: 'missing', isDenied, detail }
  }

  /** Lets Tor choose the directory; where it has asked them all of late, one of those that it chose before. */
  async #ask(control: TorControl, id: string, fetch: Fetch, signal: AbortSignal): Promise<Told> {
    fetch.begin()
    await control.must(`HSFETCH ${id}`)
    let told = await fetch.next(LIMITS.requestMs, signal)
    if (!told || (told.kind === 'failed' && told.directory === '')) {
      const known = [...this.#directories]
      const directory = known[this.#turn++ % known.length]
      if (directory === undefined) return told ?? { kind: 'failed', directory: '', reason: 'no directory left to ask' }
      fetch.begin()
      await control.must(`HSFETCH ${id} SERVER=${directory}`)
      told = await fetch.next(LIMITS.requestMs, signal)
      if (!told) return { kind: 'failed', directory, reason: 'Tor does not ask it' }
    }
    if (told.kind !== 'asked') return told
    const { directory } = told
    if (this.#directories.size < LIMITS.directoriesKept) this.#directories.add(directory)
    return (await fetch.next(LIMITS.fetchMs, signal)) ?? { kind: 'asked', directory, reason: '' }
  }
}

/** '' where Tor doesn't tell. */
async function ownDescriptor(control: TorControl, id: string): Promise<string> {
  try {
    return await control.info(`hs/service/desc/id/${id}`)
  } catch (error) {
    if (error instanceof TorRefusal) return ''
    throw error
  }
}

/** The events of one fetch of one service, others' left out. */
class Fetch {
  readonly #id: string
  #told: Told[] = []
  #content: string | undefined
  #wake: () => void = () => {}

  constructor(id: string) {
    this.#id = id
  }

  /** Forgets what was told of the fetch before. */
  begin(): void {
    this.#told = []
    this.#content = undefined
  }

  note(event: string): void {
    const content = /^HS_DESC_CONTENT (\S+) \S+ \S+\n/.exec(event)
    if (content) {
      if (content[1] === this.#id) this.#content = event.slice(content[0].length)
    } else {
      const [, action, id, directory = ''] =
        /^HS_DESC (REQUESTED|RECEIVED|FAILED) (\S+) \S+ (\S+)/.exec(event.split('\n', 1)[0]!) ?? []
      if (id !== this.#id) return
      const reason = /\bREASON=(\S+)/.exec(event)?.[1] ?? 'no reason given'
      const kind = action === 'REQUESTED' ? 'asked' : action === 'RECEIVED' ? 'received' : 'failed'
      this.#told.push({ kind, directory: directory === 'UNKNOWN' ? '' : directory, reason })
    }
    this.#wake()
  }

  /** What is told next; undefined when nothing is within `ms`. */
  async next(ms: number, signal: AbortSignal): Promise<Told | undefined> {
    await this.#until(() => this.#told.length > 0, ms, signal)
    return this.#told.shift()
  }

  /** Comes with RECEIVED, after it. */
  async content(signal: AbortSignal): Promise<Descriptor | undefined> {
    await this.#until(() => this.#content !== undefined, LIMITS.requestMs, signal)
    return parseDescriptor(this.#content ?? '')
  }

  async #until(isThere: () => boolean, ms: number, signal: AbortSignal): Promise<void> {
    let isLate = false
    const cancel = after(ms, () => {
      isLate = true
      this.#wake()
    })
    try {
      while (!isThere() && !isLate) {
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#wake = resolve
        await raceAbort(promise, signal)
      }
    } finally {
      cancel()
      this.#wake = () => {}
    }
  }
}

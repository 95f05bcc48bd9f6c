/**
 * A set of txids in 32 bytes each and little more, where a `Set` of their hex takes 150: the mempool of a busy day has
 * hundreds of thousands. Entries lie one after the other in pages, in no order that is promised; a table of their numbers,
 * by a hash that is keyed per database, finds them. Entries can be marked, and those without a mark told apart.
 */
import { breathe } from '../world.ts'
import type { OutpointKeys } from './outpoint-keys.ts'
import { asTxid, type Txid } from './types.ts'

const LIMITS = {
  /** Entries a page, 150 kB: pages come and go with the set, none is ever copied. */
  page: 4_096,
  /** Entries copied in one piece: less than a millisecond. */
  piece: 4_000,
  /** Places of the table at first, and entries for each place at the most before it doubles. */
  places: 64,
  load: 0.6,
}

/** 32-bit words of an entry: the txid in display order, then its hash. */
const TXID_WORDS = 8
const ENTRY_WORDS = TXID_WORDS + 1

/** Values of hex digits by character, lower case alone; 255: none. */
const DIGITS = new Uint8Array(256).fill(255)
for (const [value, digit] of [...'0123456789abcdef'].entries()) DIGITS[digit.charCodeAt(0)] = value

/** One txid as the sets look for it, with its hash; one object is used anew for each. */
export class TxidKey {
  readonly #keys: OutpointKeys
  /** The txid, and an output index of 0: what OutpointKeys hashes. */
  readonly #bytes = new Uint8Array(36)
  readonly #view = new DataView(this.#bytes.buffer)
  readonly words = new Uint32Array(this.#bytes.buffer)
  readonly #hash = new Uint32Array(2)

  constructor(keys: OutpointKeys) {
    this.#keys = keys
  }

  /** u32 */
  get hash(): number {
    return this.#hash[1]!
  }

  of(txid: Txid): this {
    for (let i = 0; i < 32; i++) {
      this.#bytes[i] = (DIGITS[txid.charCodeAt(2 * i)]! << 4) | DIGITS[txid.charCodeAt(2 * i + 1)]!
    }
    this.#keys.write(this.#view, 0, this.#hash, 0)
    return this
  }

  /** Takes the 64 characters of `text` at `at`; false when they are no txid. */
  read(text: Uint8Array, at: number): boolean {
    if (at + 64 > text.length) return false
    let odd = 0
    for (let i = 0; i < 32; i++) {
      const high = DIGITS[text[at + 2 * i]!]!
      const low = DIGITS[text[at + 2 * i + 1]!]!
      odd |= high | low
      this.#bytes[i] = (high << 4) | low
    }
    if (odd > 15) return false
    this.#keys.write(this.#view, 0, this.#hash, 0)
    return true
  }
}

interface Page {
  words: Uint32Array
  marks: Uint8Array
}

export class TxidSet {
  readonly #key: TxidKey
  #pages: Page[] = []
  #size = 0
  #marked = 0
  /** Of each entry its number + 1, at the first free place from its hash on; 0: free. As many places as a power of two. */
  #places = new Uint32Array(LIMITS.places)

  /** `key`: for txids that are given as such. */
  constructor(key: TxidKey) {
    this.#key = key
  }

  get size(): number {
    return this.#size
  }

  has(txid: Txid): boolean {
    return this.hasKey(this.#key.of(txid))
  }

  hasKey(key: TxidKey): boolean {
    return this.#places[this.#placeOf(key.words, 0, key.hash)] !== 0
  }

  add(txid: Txid): void {
    this.addKey(this.#key.of(txid))
  }

  addKey(key: TxidKey): void {
    this.#insert(key.words, 0, key.hash)
  }

  /** Returns whether it was there. */
  delete(txid: Txid): boolean {
    const { words, hash } = this.#key.of(txid)
    const place = this.#placeOf(words, 0, hash)
    const entry = this.#places[place]! - 1
    if (entry < 0) return false
    this.#free(place)
    this.#drop(entry)
    return true
  }

  clear(): void {
    this.#pages = []
    this.#size = 0
    this.#marked = 0
    this.#places = new Uint32Array(LIMITS.places)
  }

  /** At most `count` of them, whichever. */
  some(count: number): Txid[] {
    const txids: Txid[] = []
    for (let entry = Math.max(0, this.#size - count); entry < this.#size; entry++) txids.push(this.#txid(entry))
    return txids
  }

  /** From now on nothing is marked. */
  unmarkAll(): void {
    for (const { marks } of this.#pages) marks.fill(0)
    this.#marked = 0
  }

  /** Marks it if it is there, and returns whether it is. */
  mark(key: TxidKey): boolean {
    const entry = this.#places[this.#placeOf(key.words, 0, key.hash)]! - 1
    if (entry < 0) return false
    const { marks } = this.#pageOf(entry)
    if (marks[entry % LIMITS.page] === 0) this.#marked++
    marks[entry % LIMITS.page] = 1
    return true
  }

  isMarked(txid: Txid): boolean {
    const { words, hash } = this.#key.of(txid)
    const entry = this.#places[this.#placeOf(words, 0, hash)]! - 1
    return entry >= 0 && this.#pageOf(entry).marks[entry % LIMITS.page] === 1
  }

  /** Those without a mark, as a set of their own. In pieces: nobody may change this one meanwhile. */
  async unmarked(): Promise<TxidSet> {
    const others = new TxidSet(this.#key)
    const count = this.#size - this.#marked
    for (let entry = 0; others.size < count; entry++) {
      const { words, marks } = this.#pageOf(entry)
      if (marks[entry % LIMITS.page] !== 0) continue
      const at = wordsAt(entry)
      others.#insert(words, at, words[at + TXID_WORDS]!)
      if (others.size % LIMITS.piece === 0) await breathe()
    }
    return others
  }

  // ---- entries ----

  #pageOf(entry: number): Page {
    return this.#pages[Math.floor(entry / LIMITS.page)]!
  }

  #txid(entry: number): Txid {
    const { words } = this.#pageOf(entry)
    return asTxid(Buffer.from(words.buffer, 4 * wordsAt(entry), 32).toString('hex'))
  }

  /** The txid are eight of `from` at `at`. */
  #insert(from: Uint32Array, at: number, hash: number): void {
    const place = this.#placeOf(from, at, hash)
    if (this.#places[place] !== 0) return
    const entry = this.#size++
    if (entry === this.#pages.length * LIMITS.page) {
      this.#pages.push({ words: new Uint32Array(ENTRY_WORDS * LIMITS.page), marks: new Uint8Array(LIMITS.page) })
    }
    const { words, marks } = this.#pageOf(entry)
    for (let i = 0; i < TXID_WORDS; i++) words[wordsAt(entry) + i] = from[at + i]!
    words[wordsAt(entry) + TXID_WORDS] = hash
    marks[entry % LIMITS.page] = 0
    this.#places[place] = entry + 1
    if (this.#size > LIMITS.load * this.#places.length) this.#grow()
  }

  /** The last entry takes its number. */
  #drop(entry: number): void {
    const { words, marks } = this.#pageOf(entry)
    const last = this.#size - 1
    this.#marked -= marks[entry % LIMITS.page]!
    if (entry !== last) {
      const from = this.#pageOf(last)
      this.#places[this.#placeOfEntry(last)] = entry + 1
      words.set(from.words.subarray(wordsAt(last), wordsAt(last) + ENTRY_WORDS), wordsAt(entry))
      marks[entry % LIMITS.page] = from.marks[last % LIMITS.page]!
    }
    this.#size = last
    if (last === 0) this.clear()
    else if (last <= (this.#pages.length - 2) * LIMITS.page) this.#pages.pop() // one is kept: it comes and goes
  }

  // ---- places ----

  /** Where the txid stands, or the free place where it would. */
  #placeOf(from: Uint32Array, at: number, hash: number): number {
    const mask = this.#places.length - 1
    let place = hash & mask
    for (let number = this.#places[place]!; number !== 0; number = this.#places[place]!) {
      const { words } = this.#pageOf(number - 1)
      if (isSameTxid(words, wordsAt(number - 1), from, at)) return place
      place = (place + 1) & mask
    }
    return place
  }

  #hashOf(entry: number): number {
    return this.#pageOf(entry).words[wordsAt(entry) + TXID_WORDS]!
  }

  #placeOfEntry(entry: number): number {
    const mask = this.#places.length - 1
    let place = this.#hashOf(entry) & mask
    while (this.#places[place] !== entry + 1) place = (place + 1) & mask
    return place
  }

  /** Whoever stands behind, and would stand there or before if it could, moves up: so all are found without a gap. */
  #free(place: number): void {
    const mask = this.#places.length - 1
    let gap = place
    for (let next = (gap + 1) & mask; this.#places[next] !== 0; next = (next + 1) & mask) {
      const home = this.#hashOf(this.#places[next]! - 1) & mask
      if (((next - home) & mask) < ((next - gap) & mask)) continue
      this.#places[gap] = this.#places[next]!
      gap = next
    }
    this.#places[gap] = 0
  }

  #grow(): void {
    const places = new Uint32Array(2 * this.#places.length)
    const mask = places.length - 1
    for (let entry = 0; entry < this.#size; entry++) {
      let place = this.#hashOf(entry) & mask
      while (places[place] !== 0) place = (place + 1) & mask
      places[place] = entry + 1
    }
    this.#places = places
  }
}

/** In its page. */
function wordsAt(entry: number): number {
  return ENTRY_WORDS * (entry % LIMITS.page)
}

function isSameTxid(a: Uint32Array, atA: number, b: Uint32Array, atB: number): boolean {
  for (let i = 0; i < TXID_WORDS; i++) if (a[atA + i] !== b[atB + i]) return false
  return true
}

/**
 * Keys of 64 bits (outpoint-keys.ts) in 12 to 23 bytes each, where a Map takes more than a hundred and has no room for
 * seventeen million: which of them are there, and which of a block's inputs are among them. A key that was added twice is
 * there until it was taken away twice: two outpoints may share one. Knows keys alone, not what they are of.
 *
 * Open addressing with linear probing: the high word chooses one of the segments, the low word a place in it. A segment
 * grows by itself, so nobody waits until all are moved; what is taken away leaves no mark, as whatever stands behind it
 * moves up. Source: Knuth, "The Art of Computer Programming" 3, 6.4, Algorithm R.
 */
const LIMITS = {
  /** One of 50,000 keys is moved in a millisecond, and ten million keys are no more in each. */
  segments: 256,
  /** Of a segment at the least. */
  places: 8,
  /** Keys for each place: above the one a segment doubles, below the other it halves. */
  loadMax: 0.7,
  loadMin: 0.15,
}

/** Of a segment that has no key yet: one place, and that is free. */
const NO_PLACES = new Uint32Array(2)

export class KeyTable {
  /** How far the high word is shifted, its lowest bit gone, to be the segment's number. */
  readonly #shift: number
  /** Of each segment its places, two words each: the key's high one, then the low one; both 0: free. */
  readonly #segments: Uint32Array[]
  /** Keys of each. */
  readonly #counts: Uint32Array
  #size = 0

  /** `segments`: a power of two; fewer for a table that stays small. */
  constructor(segments: number = LIMITS.segments) {
    this.#shift = 31 - Math.log2(segments)
    this.#segments = new Array<Uint32Array>(segments).fill(NO_PLACES)
    this.#counts = new Uint32Array(segments)
  }

  /** Keys that are there, as often as each was added. */
  get size(): number {
    return this.#size
  }

  /** Of the places, in use or not. */
  get bytes(): number {
    return this.#segments.reduce((sum, words) => (words === NO_PLACES ? sum : sum + words.byteLength), 0)
  }

  has(hi: number, lo: number): boolean {
    return find(this.#segments[this.#segmentOf(hi)]!, hi, lo) >= 0
  }

  /** Once more, if it is there already. */
  add(hi: number, lo: number): void {
    const segment = this.#segmentOf(hi)
    const count = this.#counts[segment]! + 1
    if (2 * count > LIMITS.loadMax * this.#segments[segment]!.length) this.#resize(segment, 2)
    insert(this.#segments[segment]!, hi, lo)
    this.#counts[segment] = count
    this.#size++
  }

  /** Once; returns whether it was there. */
  delete(hi: number, lo: number): boolean {
    const segment = this.#segmentOf(hi)
    const words = this.#segments[segment]!
    const at = find(words, hi, lo)
    if (at < 0) return false
    free(words, at)
    const count = --this.#counts[segment]!
    this.#size--
    if (words.length > 2 * LIMITS.places && 2 * count < LIMITS.loadMin * words.length) this.#resize(segment, 1 / 2)
    return true
  }

  /** Calls `onHit` with the number of each of the keys in `words` (2 words each: high, low) that is there. */
  hits(words: Uint32Array, onHit: (index: number) => void): void {
    if (this.#size === 0) return
    const segments = this.#segments
    const shift = this.#shift
    for (let i = 0; i < words.length; i += 2) {
      const hi = words[i]!
      if (find(segments[(hi >>> 1) >>> shift]!, hi, words[i + 1]!) >= 0) onHit(i / 2)
    }
  }

  #segmentOf(hi: number): number {
    return (hi >>> 1) >>> this.#shift
  }

  #resize(segment: number, factor: number): void {
    const before = this.#segments[segment]!
    const after = new Uint32Array(before === NO_PLACES ? 2 * LIMITS.places : factor * before.length)
    for (let at = 0; at < before.length; at += 2) {
      if (before[at] !== 0 || before[at + 1] !== 0) insert(after, before[at]!, before[at + 1]!)
    }
    this.#segments[segment] = after
  }
}

/** Where the key stands; -1: nowhere. */
function find(words: Uint32Array, hi: number, lo: number): number {
  const mask = words.length - 1
  if (hi === 0 && lo === 0) lo = 1 // as free places look
  for (let at = (2 * lo) & mask; ; at = (at + 2) & mask) {
    const high = words[at]!
    const low = words[at + 1]!
    if (low === lo && high === hi) return at
    if (low === 0 && high === 0) return -1
  }
}

/** There is a free place. */
function insert(words: Uint32Array, hi: number, lo: number): void {
  const mask = words.length - 1
  if (hi === 0 && lo === 0) lo = 1
  let at = (2 * lo) & mask
  while (words[at] !== 0 || words[at + 1] !== 0) at = (at + 2) & mask
  words[at] = hi
  words[at + 1] = lo
}

/** Whoever stands behind, and would stand there or before if it could, moves up: so all are found without a gap. */
function free(words: Uint32Array, at: number): void {
  const mask = words.length - 1
  let gap = at
  for (let next = (gap + 2) & mask; words[next] !== 0 || words[next + 1] !== 0; next = (next + 2) & mask) {
    const home = (2 * words[next + 1]!) & mask
    if (((next - home) & mask) < ((next - gap) & mask)) continue
    words[gap] = words[next]!
    words[gap + 1] = words[next + 1]!
    gap = next
  }
  words[gap] = 0
  words[gap + 1] = 0
}

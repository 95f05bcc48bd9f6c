/**
 * The outpoints whose spends we record, found by key among a block's or a transaction's inputs without allocating.
 * A hit is a candidate: look at the transaction before believing it.
 */
import { mapKey, type OutpointKeys } from './outpoint-keys.ts'
import { formatOutpoint, type Outpoint } from './types.ts'

export class TrackedOutpoints {
  readonly #keys: OutpointKeys
  readonly #byKey = new Map<number, Outpoint[]>()
  #revision = 0

  constructor(keys: OutpointKeys) {
    this.#keys = keys
  }

  /** Changes whenever an outpoint is added: hits found before may lack one. */
  get revision(): number {
    return this.#revision
  }

  add(outpoint: Outpoint): void {
    const key = this.#keyOf(outpoint)
    const present = this.#byKey.get(key) ?? []
    if (present.some((other) => isSame(other, outpoint))) return
    this.#byKey.set(key, [...present, outpoint])
    this.#revision++
  }

  remove(outpoint: Outpoint): void {
    const key = this.#keyOf(outpoint)
    const rest = (this.#byKey.get(key) ?? []).filter((other) => !isSame(other, outpoint))
    if (rest.length > 0) this.#byKey.set(key, rest)
    else this.#byKey.delete(key)
  }

  /** Tracked outpoints whose key is among `words` (2 per key: high, low). */
  hits(words: Uint32Array): Outpoint[] {
    const found: Outpoint[] = []
    if (this.#byKey.size === 0) return found
    for (let i = 0; i < words.length; i += 2) {
      const outpoints = this.#byKey.get(mapKey(words[i]!, words[i + 1]!))
      if (outpoints) found.push(...outpoints)
    }
    return found
  }

  #keyOf(outpoint: Outpoint): number {
    const { hi, lo } = this.#keys.of(outpoint)
    return mapKey(hi, lo)
  }
}

function isSame(a: Outpoint, b: Outpoint): boolean {
  return formatOutpoint(a) === formatOutpoint(b)
}

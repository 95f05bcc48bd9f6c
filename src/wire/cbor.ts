/**
 * CBOR as serde_cbor 0.11 writes and reads it (docs/protocol.md, "CBOR"; RFC 8949), for a stranger's bytes: bounded in
 * depth and items, never allocating more than the bytes that are there, text checked as UTF-8, every fault a CborError.
 *
 * Values: integers as number (bigint beyond 2^53), byte strings as Buffer (a view of the bytes read), text as string,
 * arrays as Array, maps as CborMap, floats as Float (1.0 is no integer here), true, false, null, undefined. Tags are
 * skipped. Knows no messages.
 */
import { isUtf8 } from 'node:buffer'

export const CBOR_LIMITS = {
  /** Our deepest message has 6 levels (Post); nobody needs more than this, and recursion stays shallow. */
  depthMax: 16,
  /** Items in one value. 1,000 outpoints take 7,000; a list of 10,000 addresses takes 10,000. */
  itemsMax: 200_000,
}

export class CborError extends Error {
  override readonly name = 'CborError'
}

/** A map as it came: entries in order, any values as keys, and keys may repeat: who reads the map judges that. */
export class CborMap {
  readonly entries: readonly (readonly [CborValue, CborValue])[]
  /** The byte it began with (a tag's, if one stood before it): serde_cbor takes an enum only behind exactly `a1`. */
  readonly head: number
  constructor(entries: readonly (readonly [CborValue, CborValue])[], head: number) {
    this.entries = entries
    this.head = head
  }
}

/** A number that is written as a float even when it is whole (`f90000` for 0.0), and that came as one. */
export class Float {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

export type CborValue = number | bigint | boolean | null | undefined | string | Buffer | Float | CborValue[] | CborMap

const BREAK = Symbol('break')

/** Reads exactly one value that fills `bytes`. Throws CborError. */
export function decode(bytes: Buffer): CborValue {
  const reader = new Reader(bytes)
  const value = reader.value(0)
  if (reader.at !== bytes.length) throw new CborError(`${bytes.length - reader.at} bytes after the value`)
  return value
}

class Reader {
  at = 0
  #items = 0
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  value(depth: number): CborValue {
    const value = this.#item(depth)
    if (value === BREAK) throw new CborError('a break outside an indefinite value')
    return value
  }

  #item(depth: number): CborValue | typeof BREAK {
    if (depth > CBOR_LIMITS.depthMax) throw new CborError(`nested deeper than ${CBOR_LIMITS.depthMax}`)
    const first = this.#byte()
    let head = first
    while (head >> 5 === 6) {
      this.#argument(head & 31) // a tag: skipped, as serde_cbor does
      head = this.#byte()
      if (head === 0xff) throw new CborError('a tag without a value')
    }
    this.#countItem()
    const info = head & 31
    switch (head >> 5) {
      case 0:
        return this.#argument(info)
      case 1: {
        const n = this.#argument(info)
        return typeof n === 'bigint' ? -1n - n : -1 - n
      }
      case 2:
        return this.#string(2, info)
      case 3: {
        const bytes = this.#string(3, info)
        if (!isUtf8(bytes)) throw new CborError('text that is not UTF-8')
        return bytes.toString('utf8')
      }
      case 4:
        return this.#array(info, depth)
      case 5:
        return new CborMap(this.#entries(info, depth), first)
      default:
        return this.#simple(info)
    }
  }

  #array(info: number, depth: number): CborValue[] {
    const values: CborValue[] = []
    if (info === 31) {
      for (let item = this.#item(depth + 1); item !== BREAK; item = this.#item(depth + 1)) values.push(item)
      return values
    }
    for (let left = this.#count(info); left > 0; left--) values.push(this.value(depth + 1))
    return values
  }

  #entries(info: number, depth: number): [CborValue, CborValue][] {
    const entries: [CborValue, CborValue][] = []
    if (info === 31) {
      for (let key = this.#item(depth + 1); key !== BREAK; key = this.#item(depth + 1)) {
        entries.push([key, this.value(depth + 1)])
      }
    } else {
      for (let left = this.#count(info); left > 0; left--) entries.push([this.value(depth + 1), this.value(depth + 1)])
    }
    return entries
  }

  #string(major: number, info: number): Buffer {
    if (info !== 31) return this.#take(this.#count(info))
    const chunks: Buffer[] = []
    for (let head = this.#byte(); head !== 0xff; head = this.#byte()) {
      if (head >> 5 !== major || (head & 31) === 31) throw new CborError('a chunk of another kind in a string')
      this.#countItem()
      chunks.push(this.#take(this.#count(head & 31)))
    }
    return Buffer.concat(chunks)
  }

  #simple(info: number): CborValue | typeof BREAK {
    switch (info) {
      case 20:
        return false
      case 21:
        return true
      case 22:
        return null
      case 23:
        return undefined
      case 25:
        return new Float(halfToNumber(this.#take(2).readUInt16BE()))
      case 26:
        return new Float(this.#take(4).readFloatBE())
      case 27:
        return new Float(this.#take(8).readDoubleBE())
      case 31:
        return BREAK
      default:
        throw new CborError(`simple value ${info} is not known`)
    }
  }

  #argument(info: number): number | bigint {
    if (info < 24) return info
    switch (info) {
      case 24:
        return this.#byte()
      case 25:
        return this.#take(2).readUInt16BE()
      case 26:
        return this.#take(4).readUInt32BE()
      case 27: {
        const n = this.#take(8).readBigUInt64BE()
        return n <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(n) : n
      }
      default:
        throw new CborError(`a head with the reserved length ${info}`)
    }
  }

  #countItem(): void {
    if (++this.#items > CBOR_LIMITS.itemsMax) throw new CborError(`more than ${CBOR_LIMITS.itemsMax} items`)
  }

  /** A length or number of elements: each takes at least one byte, so it can't exceed what is left. */
  #count(info: number): number {
    const count = this.#argument(info)
    if (count > this.#bytes.length - this.at) throw new CborError('a length points past the end')
    return Number(count)
  }

  #take(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw new CborError('ends in the middle of a value')
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }

  #byte(): number {
    const byte = this.#bytes[this.at++]
    if (byte === undefined) throw new CborError('ends in the middle of a value')
    return byte
  }
}

function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 31
  const fraction = half & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/**
 * What can be written. Whole numbers become integers and must be safe ones (else bigint); other numbers become floats.
 * Objects become maps, fields in their order; a field that is undefined is left out.
 */
export type Encodable =
  | number
  | bigint
  | boolean
  | null
  | string
  | Uint8Array
  | Float
  | Encoded
  | readonly Encodable[]
  | { readonly [field: string]: Encodable | undefined }

/** One item that is CBOR already: written as it is. */
export class Encoded {
  readonly bytes: Buffer
  constructor(bytes: Buffer) {
    this.bytes = bytes
  }
}

/** Shortest heads, definite lengths, fields in the order given: the bytes serde_cbor writes. Throws RangeError. */
export function encode(value: Encodable): Buffer {
  const writer = new Writer()
  writer.value(value)
  return writer.bytes()
}

class Writer {
  #buffer = Buffer.allocUnsafe(256)
  #length = 0

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  value(value: Encodable): void {
    if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'string') this.#text(value)
    else if (typeof value === 'bigint') value < 0n ? this.#head(1, -1n - value) : this.#head(0, value)
    else if (typeof value === 'boolean') this.#byte(value ? 0xf5 : 0xf4)
    else if (value === null) this.#byte(0xf6)
    else if (value instanceof Float) this.#float(value.value)
    else if (value instanceof Encoded) this.#raw(value.bytes)
    else if (value instanceof Uint8Array) {
      this.#head(2, value.length)
      this.#raw(value)
    } else if (isList(value)) {
      this.#head(4, value.length)
      for (const item of value) this.value(item)
    } else this.#fields(value)
  }

  #fields(fields: { readonly [field: string]: Encodable | undefined }): void {
    const entries = Object.entries(fields).filter((entry): entry is [string, Encodable] => entry[1] !== undefined)
    this.#head(5, entries.length)
    for (const [name, value] of entries) {
      this.#text(name)
      this.value(value)
    }
  }

  #number(n: number): void {
    if (!Number.isInteger(n) || Object.is(n, -0)) this.#float(n)
    else if (!Number.isSafeInteger(n)) throw new RangeError(`${n} is written as a bigint or as a Float`)
    else if (n >= 0) this.#head(0, n)
    else this.#head(1, -1 - n)
  }

  #text(text: string): void {
    const bytes = Buffer.from(text, 'utf8')
    this.#head(3, bytes.length)
    this.#raw(bytes)
  }

  #head(major: number, argument: number | bigint): void {
    const first = major << 5
    const n = Number(argument)
    if (n < 24) this.#byte(first | n)
    else if (n <= 0xff) this.#raw(Buffer.of(first | 24, n))
    else if (n <= 0xffff) this.#raw(Buffer.of(first | 25, n >> 8, n & 0xff))
    else if (n <= 0xffffffff) {
      const bytes = Buffer.of(first | 26, 0, 0, 0, 0)
      bytes.writeUInt32BE(n, 1)
      this.#raw(bytes)
    } else {
      const bytes = Buffer.alloc(9)
      bytes[0] = first | 27
      bytes.writeBigUInt64BE(BigInt(argument), 1)
      this.#raw(bytes)
    }
  }

  /** The shortest of half, single and double that is exact. */
  #float(n: number): void {
    const half = numberToHalf(n)
    if (half !== undefined) return this.#raw(Buffer.of(0xf9, half >> 8, half & 0xff))
    const isSingle = Math.fround(n) === n
    const bytes = Buffer.alloc(isSingle ? 5 : 9)
    bytes[0] = isSingle ? 0xfa : 0xfb
    if (isSingle) bytes.writeFloatBE(n, 1)
    else bytes.writeDoubleBE(n, 1)
    this.#raw(bytes)
  }

  #byte(byte: number): void {
    this.#room(1)
    this.#buffer[this.#length++] = byte
  }

  #raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  #room(more: number): void {
    if (this.#length + more <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#length + more, 2 * this.#buffer.length))
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}

function isList(value: Encodable): value is readonly Encodable[] {
  return Array.isArray(value)
}

/** The half-precision bits of `n` when they represent it exactly. */
function numberToHalf(n: number): number | undefined {
  if (Number.isNaN(n)) return 0x7e00
  const sign = n < 0 || Object.is(n, -0) ? 0x8000 : 0
  const size = Math.abs(n)
  if (size === Infinity) return sign | 0x7c00
  if (size === 0) return sign
  if (size < 2 ** -14) {
    const fraction = size * 2 ** 24
    return Number.isInteger(fraction) ? sign | fraction : undefined
  }
  const exponent = Math.floor(Math.log2(size))
  if (exponent > 15) return undefined
  const fraction = (size / 2 ** exponent - 1) * 1024
  return Number.isInteger(fraction) && fraction >= 0 && fraction < 1024
    ? sign | ((exponent + 15) << 10) | fraction
    : undefined
}

/**
 * Shapes: how one value stands on the wire and in the program, both ways in one declaration. `messages.ts` is written in
 * them. Knows CBOR values and the chain's words, no message.
 *
 * What is accepted is what serde_cbor 0.11 accepts: a struct as a map with its keys in any order (unknown ones ignored,
 * known ones once) or as an array of its values in the order declared; keys as text, as bytes, or as indices.
 */
import { asBlockHash, asTxid, type BlockHash, fromInternal, type Txid, toInternal } from '../chain/types.ts'
import { CborMap, type CborValue, type Encodable, Encoded, encode, Float } from './cbor.ts'

/** A value is not of the shape asked for. The message names the field, what was expected, and what came. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

export interface Shape<T> {
  /** `at` is the path of the value, for the message. Throws Refused. */
  read(value: CborValue, at: string): T
  write(value: T): Encodable
  /** The field's name on the wire, where it isn't the program's. */
  readonly wireName?: string
  /** What a field is that is missing or null; without this both are refused. Undefined: then it has no key at all. */
  readonly ifAbsent?: { readonly value: T | undefined }
}

/** A field that may be missing: `?` in the program, not written when undefined. */
export interface OptionalShape<T> extends Shape<T> {
  readonly isOptional: true
}

export type ValueOf<S> = S extends Shape<infer T> ? T : never

export type Fields = { readonly [name: string]: Shape<unknown> }
type RequiredNames<F> = { [K in keyof F]: F[K] extends { isOptional: true } ? never : K }[keyof F]
type Flat<T> = { [K in keyof T]: T[K] }
export type StructOf<F> = Flat<
  { [K in RequiredNames<F>]: ValueOf<F[K]> } & { [K in Exclude<keyof F, RequiredNames<F>>]?: ValueOf<F[K]> }
>

function refuse(at: string, expected: string, value: CborValue): never {
  throw new Refused(`${at}: expected ${expected}, got ${describe(value)}`)
}

function describe(value: CborValue): string {
  if (value === null || value === undefined || typeof value === 'boolean') return String(value)
  if (typeof value === 'number' || typeof value === 'bigint') return `the number ${value}`
  if (value instanceof Float) return `the float ${value.value}`
  if (typeof value === 'string') return `a text of ${value.length} characters`
  if (Buffer.isBuffer(value)) return `a byte string of ${value.length} bytes`
  return Array.isArray(value) ? `an array of ${value.length}` : 'a map'
}

// ---- values ----------------------------------------------------------------------------------------------------------

export const text: Shape<string> = {
  read: (value, at) => (typeof value === 'string' ? value : refuse(at, 'a text', value)),
  write: (value) => value,
}

/** One of a few words. */
export function oneOf<W extends string>(words: readonly W[]): Shape<W> {
  return {
    read: (value, at) => words.find((word) => word === value) ?? refuse(at, `one of ${words.join(', ')}`, value),
    write: (value) => value,
  }
}

export const bool: Shape<boolean> = {
  read: (value, at) => (typeof value === 'boolean' ? value : refuse(at, 'true or false', value)),
  write: (value) => value,
}

function unsigned(max: number): Shape<number> {
  return {
    read: (value, at) =>
      typeof value === 'number' && value >= 0 && value <= max
        ? value
        : refuse(at, `a whole number from 0 to ${max}`, value),
    write: (value) => value,
  }
}
export const u16 = unsigned(0xffff)
export const u32 = unsigned(0xffff_ffff)
/** As far as numbers are exact: no time, amount or count of ours comes near 2^53. */
export const u64 = unsigned(Number.MAX_SAFE_INTEGER)

/** A finite double. serde_cbor takes a whole number where a float is expected; it writes the shortest float that is exact. */
export const f64: Shape<number> = {
  read: (value, at) => {
    const number = value instanceof Float ? value.value : value
    return typeof number === 'number' && Number.isFinite(number) ? number : refuse(at, 'a finite number', value)
  },
  write: (value) => new Float(value),
}

/** A byte string of any length up to `lengthMax`. */
export function bytesUpTo(lengthMax: number): Shape<Uint8Array> {
  return {
    read: (value, at) =>
      Buffer.isBuffer(value) && value.length <= lengthMax
        ? value
        : refuse(at, `a byte string of at most ${lengthMax} bytes`, value),
    write: (value) => value,
  }
}

export function bytes(length: number): Shape<Uint8Array> {
  return {
    read: (value, at) => readBytes(length, value, at),
    write: (value) => value,
  }
}

/** Any number of bytes: the frame is the limit. */
export const blob: Shape<Uint8Array> = {
  read: (value, at) => (Buffer.isBuffer(value) ? value : refuse(at, 'a byte string', value)),
  write: (value) => value,
}

function readBytes(length: number, value: CborValue, at: string): Buffer {
  if (Buffer.isBuffer(value) && value.length === length) return value
  return refuse(at, `a byte string of ${length} bytes`, value)
}

/** 32 bytes in internal order ↔ display hex. */
export const internalTxid: Shape<Txid> = {
  read: (value, at) => asTxid(fromInternal(readBytes(32, value, at))),
  write: toInternal,
}

/** 32 bytes in internal order ↔ display hex. */
export const internalBlockHash: Shape<BlockHash> = {
  read: (value, at) => asBlockHash(fromInternal(readBytes(32, value, at))),
  write: toInternal,
}

/** A txid as text in display order. */
export const txidText: Shape<Txid> = {
  read: (value, at) =>
    typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
      ? asTxid(value)
      : refuse(at, 'a txid of 64 lower-case hex digits', value),
  write: (value) => value,
}

export const hexText: Shape<Uint8Array> = {
  read: (value, at) =>
    typeof value === 'string' && /^(?:[0-9a-fA-F]{2})*$/.test(value)
      ? Buffer.from(value, 'hex')
      : refuse(at, 'an even number of hex digits', value),
  write: (value) => Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex'),
}

const DATE_TIME = /^([+-]?)(\d{4,6})(-\d\d-\d\dT\d\d:\d\d:)(\d\d)(\.\d{1,9})?$/

/** chrono's NaiveDateTime, always UTC here and without a zone ↔ Unix milliseconds. A leap second counts as the 59th. */
export const dateTimeText: Shape<number> = {
  read: (value, at) => {
    const [, sign, year, date, seconds, fraction = ''] = (typeof value === 'string' && DATE_TIME.exec(value)) || []
    const isoYear = sign ? sign + year?.padStart(6, '0') : year
    const unixMs = Date.parse(`${isoYear}${date}${seconds === '60' ? '59' : seconds}${fraction}Z`)
    return Number.isNaN(unixMs) ? refuse(at, 'a date and time YYYY-MM-DDTHH:MM:SS[.fraction]', value) : unixMs
  },
  write: (unixMs) => new Date(unixMs).toISOString().replace(/(\.000)?Z$/, ''),
}

// ---- composites ------------------------------------------------------------------------------------------------------

export function list<T>(item: Shape<T>): Shape<readonly T[]> {
  return {
    read: (value, at) =>
      Array.isArray(value) ? value.map((entry, i) => item.read(entry, `${at}[${i}]`)) : refuse(at, 'an array', value),
    write: (values) => values.map((value) => item.write(value)),
  }
}

/** The same shape under another name on the wire. */
export function named<S>(wireName: string, shape: S): S & { readonly wireName: string } {
  return { ...shape, wireName }
}

export function optional<T>(shape: Shape<T>): OptionalShape<T> {
  return { ...shape, isOptional: true, ifAbsent: { value: undefined } }
}

/** A field that others leave out, and what it is then. We always write it. */
export function orElse<T>(shape: Shape<T>, value: T): Shape<T> {
  return { ...shape, ifAbsent: { value } }
}

/** Fields in the order of their declaration, which is the order on the wire. */
export function struct<const F extends Fields>(fields: F): Shape<StructOf<F>> {
  const names = Object.keys(fields)
  const shapes = Object.values(fields)
  const wireNames = names.map((name, i) => shapes[i]!.wireName ?? name)
  /** As many values an array has at the least: the last ones may be missing. */
  const valuesMin = 1 + shapes.findLastIndex(({ ifAbsent }) => !ifAbsent)

  const readField = (i: number, found: ReadonlyMap<number, CborValue>, at: string) => {
    const { read, ifAbsent } = shapes[i]!
    const value = found.get(i)
    if (ifAbsent && (!found.has(i) || value === null)) return ifAbsent.value
    if (!found.has(i)) throw new Refused(`${at}.${wireNames[i]}: this field is missing`)
    return read(value, `${at}.${wireNames[i]}`)
  }

  return {
    read(value, at) {
      const found = new Map<number, CborValue>()
      if (value instanceof CborMap) {
        for (const [key, entry] of value.entries) {
          const i = typeof key === 'number' ? key : wireNames.indexOf(readName(key) ?? '')
          if (wireNames[i] === undefined) continue
          if (found.has(i)) throw new Refused(`${at}.${wireNames[i]}: this field comes twice`)
          found.set(i, entry)
        }
      } else if (Array.isArray(value) && value.length >= valuesMin && value.length <= names.length) {
        for (const [i, entry] of value.entries()) found.set(i, entry)
      } else {
        refuse(at, `a map with the fields ${wireNames.join(', ')}`, value)
      }
      const result: Record<string, unknown> = {}
      for (const [i, name] of names.entries()) {
        const inner = readField(i, found, at)
        if (inner !== undefined) result[name] = inner
      }
      return result as StructOf<F>
    },
    write(value) {
      const written: Record<string, Encodable> = {}
      for (const [i, name] of names.entries()) {
        const inner = (value as Record<string, unknown>)[name]
        if (inner !== undefined) written[wireNames[i]!] = shapes[i]!.write(inner)
      }
      return written
    },
  }
}

/** Written once for each object, however many messages it stands in: for objects that don't change. */
export function encodedOnce<T extends object>(shape: Shape<T>): Shape<T> {
  const kept = new WeakMap<T, Encoded>()
  return {
    ...shape,
    write(value) {
      let encoded = kept.get(value)
      if (!encoded) {
        encoded = new Encoded(encode(shape.write(value)))
        kept.set(value, encoded)
      }
      return encoded
    },
  }
}

/** Names of variants and fields come as text, or as its bytes. */
export function readName(value: CborValue): string | undefined {
  if (typeof value === 'string') return value
  return Buffer.isBuffer(value) ? value.toString('latin1') : undefined
}

// ---- variants --------------------------------------------------------------------------------------------------------

/** A variant without fields: its name alone, or its name with null. */
export const unit: Shape<Record<never, never>> = {
  read: (value, at) => (value === null || value === undefined ? {} : refuse(at, 'no fields', value)),
  write: () => null,
}

export type Variants = { readonly [type: string]: Shape<unknown> }
/** The union of all messages, told apart by `type`. */
export type MessageOf<V extends Variants> = { [T in keyof V]: Flat<{ type: T } & ValueOf<V[T]>> }[keyof V]

/**
 * Takes a variant apart: `Name`, `{Name: content}` with head byte a1, or the array `[Name, content]` that serde_cbor
 * still knows. `byIndex` names the variants that may also come as a number. Undefined when `value` is none of these.
 */
export function readVariant(
  value: CborValue,
  byIndex: readonly string[] = [],
): { name: string; content: CborValue } | undefined {
  const [key, content] = variantParts(value)
  const name = typeof key === 'number' ? byIndex[key] : readName(key)
  return name === undefined ? undefined : { name, content }
}

function variantParts(value: CborValue): readonly [key: CborValue, content: CborValue] {
  if (value instanceof CborMap) return (value.head === 0xa1 && value.entries[0]) || [undefined, undefined]
  if (Array.isArray(value)) return value.length === 2 ? [value[0], value[1]] : [undefined, undefined]
  return [value, null]
}

/** The shape of the variant `name`, if there is one. */
export function shapeOf<V extends Variants>(variants: V, name: string): Shape<object> | undefined {
  return Object.hasOwn(variants, name) ? (variants[name] as Shape<object>) : undefined
}

export function writeVariant<V extends Variants>(variants: V, message: MessageOf<V>): Encodable {
  const name = message.type as string
  const shape = shapeOf(variants, name)!
  return shape === unit ? name : { [name]: shape.write(message) }
}

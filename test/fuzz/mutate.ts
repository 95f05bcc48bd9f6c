/** Valid inputs made wrong: bytes flipped, cut, doubled, lengths that lie; and CBOR that is well-formed and means something else. */
import { CborError, CborMap, type CborValue, decode, Float } from '../../src/wire/cbor.ts'
import type { Chance } from './chance.ts'

/** Longest input that is made: above the largest frame that is taken. */
const BYTES_MAX = 100_000
const CHANGES_MAX = 6
/** Numbers at which programs change their mind. */
const EDGES = [0, 1, 2, 23, 24, 0x7f, 0x80, 0xfc, 0xfd, 0xfe, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000]
const WIDE_EDGES = [0x7fff_ffff, 0x8000_0000, 0xffff_ffff]

/** One of `seeds`, changed in up to six places. */
export function mutate(seeds: readonly Buffer[], chance: Chance): Buffer {
  let input = chance.pick(seeds)
  for (let left = 1 + chance.below(CHANGES_MAX); left > 0; left--) input = change(input, seeds, chance)
  return input.subarray(0, BYTES_MAX)
}

function change(input: Buffer, seeds: readonly Buffer[], chance: Chance): Buffer {
  const at = chance.below(input.length + 1)
  const to = Math.min(input.length, at + 1 + chance.below(chance.oneIn(4) ? 400 : 8))
  const cut = (...middle: Buffer[]) => Buffer.concat([input.subarray(0, at), ...middle, input.subarray(to)])
  switch (chance.below(10)) {
    case 0:
      return input.subarray(0, at)
    case 1:
      return cut()
    case 2:
      return cut(chance.bytes(1 + chance.below(16)))
    case 3: // said twice, or a thousand times
      return cut(...Array.from({ length: chance.oneIn(10) ? 1_000 : 2 }, () => input.subarray(at, to)))
    case 4: {
      const other = chance.pick(seeds)
      return cut(other.subarray(chance.below(other.length + 1)))
    }
    case 5: // one byte many times: nesting, mostly
      return cut(
        Buffer.alloc(
          1 + chance.below(chance.oneIn(20) ? 60_000 : 40),
          chance.pick([0x81, 0x9f, 0xa1, 0xbf, 0xc0, 0xd8, 0, 0x5b, 0x22]),
        ),
      )
    case 6:
    case 7:
      return overwritten(input, at, chance)
    default: {
      const flipped = Buffer.from(input)
      for (let n = 1 + chance.below(3); n > 0 && flipped.length > 0; n--) {
        flipped[chance.below(flipped.length)]! ^= 1 << chance.below(8)
      }
      return flipped
    }
  }
}

/** A number at an edge where another one, a length perhaps, stood. */
function overwritten(input: Buffer, at: number, chance: Chance): Buffer {
  const changed = Buffer.from(input)
  const width = chance.pick([1, 2, 4, 8])
  if (at + width > changed.length) return changed
  const edge = width >= 4 && chance.oneIn(2) ? chance.pick(WIDE_EDGES) : chance.pick(EDGES)
  const bytes = Buffer.alloc(8)
  if (chance.oneIn(2)) bytes.writeBigUInt64LE(BigInt(edge))
  else bytes.subarray(0, width).writeUIntBE(width >= 6 ? edge : edge % 2 ** (8 * width), 0, Math.min(width, 6))
  bytes.copy(changed, at, 0, width)
  return changed
}

// ---- CBOR ------------------------------------------------------------------------------------------------------------

const ODD: readonly CborValue[] = [
  ...[0, 1, -1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 64n)],
  ...[true, false, null, undefined, '', 'x', '\u0000', '127.0.0.1:1', 'é'.repeat(40), 'x'.repeat(3_000)],
  ...[0, 1.5, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e308, 5e-324].map((value) => new Float(value)),
  ...[Buffer.alloc(0), Buffer.alloc(32), Buffer.alloc(33, 2), Buffer.alloc(70, 0x30), Buffer.alloc(5_000)],
  ...[[], [[]], [0], new CborMap([], 0xa0)],
]

/** The same with one or two of its values changed for others, or undefined when `payload` is no CBOR. */
export function mutateCbor(payload: Buffer, chance: Chance): Buffer | undefined {
  let value: CborValue
  try {
    value = decode(payload)
  } catch (error) {
    if (error instanceof CborError) return undefined
    throw error
  }
  const places = count(value)
  const targets = new Set(Array.from({ length: 1 + chance.below(2) }, () => chance.below(places)))
  let place = 0
  const visit = (node: CborValue): CborValue[] => {
    const isTarget = targets.has(place++)
    const rebuilt = rebuild(node, visit)
    if (!isTarget) return [rebuilt]
    switch (chance.below(6)) {
      case 0:
        return []
      case 1:
        return [rebuilt, rebuilt]
      case 2:
        return [[rebuilt]]
      case 3:
        return [typeof node === 'string' ? `${node}${chance.pick([' ', '\n', '0', '\u0000', '.'])}` : chance.pick(ODD)]
      default:
        return [chance.pick(ODD)]
    }
  }
  return Buffer.concat(visit(value).map((item) => written(item, chance)))
}

function rebuild(node: CborValue, visit: (node: CborValue) => CborValue[]): CborValue {
  if (Array.isArray(node)) return node.flatMap(visit)
  if (!(node instanceof CborMap)) return node
  const entries = node.entries.flatMap(([key, value]): [CborValue, CborValue][] => {
    const values = visit(value)
    return visit(key).flatMap((name) => values.map((one): [CborValue, CborValue] => [name, one]))
  })
  return new CborMap(entries, node.head)
}

function count(node: CborValue): number {
  if (Array.isArray(node)) return 1 + node.reduce((sum: number, item) => sum + count(item), 0)
  if (!(node instanceof CborMap)) return 1
  return 1 + node.entries.reduce((sum, [key, value]) => sum + count(key) + count(value), 0)
}

/** Any value that can be read, sometimes with a longer head than it needs, or without a length. */
function written(value: CborValue, chance: Chance): Buffer {
  if (value === undefined) return Buffer.of(0xf7)
  if (value === null) return Buffer.of(0xf6)
  if (typeof value === 'boolean') return Buffer.of(value ? 0xf5 : 0xf4)
  if (typeof value === 'number' || typeof value === 'bigint') {
    const n = BigInt(value)
    return n < 0n ? head(1, -1n - n, chance) : head(0, n, chance)
  }
  if (value instanceof Float) {
    const bytes = Buffer.alloc(9, 0xfb)
    bytes.writeDoubleBE(value.value, 1)
    return bytes
  }
  if (typeof value === 'string')
    return Buffer.concat([head(3, BigInt(Buffer.byteLength(value)), chance), Buffer.from(value)])
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, BigInt(value.length), chance), value])
  const [major, items] = Array.isArray(value) ? [4, value] : [5, value.entries.flat()]
  const inside = items.map((item) => written(item, chance))
  if (chance.oneIn(50)) return Buffer.concat([Buffer.of((major << 5) | 31), ...inside, Buffer.of(0xff)])
  return Buffer.concat([head(major, BigInt(major === 4 ? items.length : items.length / 2), chance), ...inside])
}

function head(major: number, argument: bigint, chance: Chance): Buffer {
  const longer = chance.oneIn(30)
  if (argument < 24n && !longer) return Buffer.of((major << 5) | Number(argument))
  const bytes = Buffer.alloc(9)
  bytes[0] = (major << 5) | 27
  bytes.writeBigUInt64BE(argument, 1)
  if (longer || argument > 0xffff_ffffn) return bytes
  bytes[4] = (major << 5) | 26
  return bytes.subarray(4)
}

/**
 * Every message of the wire, once: domain values ↔ CBOR payloads. Sources: docs/protocol.md, "Requests and replies";
 * what is accepted follows serde_cbor 0.11, because the clients are Rust programs.
 *
 * A message is a variant: a text for one without fields, else a map of one entry (head byte a1) from its name to its
 * fields. Fields we don't know are ignored. Txids inside outpoints, and block hashes, are byte strings in INTERNAL
 * order; txids that v1 sends as text are in display order.
 */
import {
  asBlockHash,
  asTxid,
  type BlockHash,
  fromInternal,
  type Outpoint,
  type Txid,
  toInternal,
} from '../chain/types.ts'
import type { WireErrorCode } from '../errors.ts'
import { CborError, CborMap, type CborValue, decode, type Encodable, encode } from './cbor.ts'

// ---- words -----------------------------------------------------------------------------------------------------------

export type Request =
  | { type: 'Get' }
  | { type: 'Watch'; outpoint: Outpoint }
  | { type: 'Ping'; address: string; port: number }
  | { type: 'Pong'; address: string }
  | { type: 'Status' }

/** One transaction that spends the outpoint asked about. */
export interface WatchedTx {
  txid: Txid
  /** When it was first seen, Unix milliseconds. */
  seenAtMs: number
  rawTx: Uint8Array
}

export interface TipFields {
  version: string
  network: string
  height: number
  blockHash: BlockHash
  /** 32 bytes. */
  digest: Uint8Array
}

export interface StatusFields extends TipFields {
  /** Header time of the tip, Unix seconds. */
  blockTimeS: number
  scannedFrom: number
  synced: boolean
  bonds: number
  makersUp: number
  uptimeS: number
  /** Heights of the window that were pruned before they could be scanned; absent when there are none. */
  unseen?: { from: number; to: number }
}

export type Reply =
  | { type: 'Address'; addresses: readonly string[] }
  | { type: 'WatchResponse'; transactions: readonly WatchedTx[] }
  | ({ type: 'Pong'; address: string } & Partial<TipFields>)
  | ({ type: 'Status' } & StatusFields)
  | { type: 'Error'; code: WireErrorCode; message: string }

// ---- readers: CBOR value → domain value, or a Refused that names the field --------------------------------------------

class Refused extends Error {
  override readonly name = 'Refused'
}

type Read<T> = (value: CborValue, field: string) => T
type Fields = { readonly [field: string]: Read<unknown> }
type Struct<F extends Fields> = { -readonly [K in keyof F]: ReturnType<F[K]> }

function refuse(field: string, expected: string): never {
  throw new Refused(`${field}: expected ${expected}`)
}

const text: Read<string> = (value, field) => (typeof value === 'string' ? value : refuse(field, 'a text'))
const bool: Read<boolean> = (value, field) => (typeof value === 'boolean' ? value : refuse(field, 'true or false'))
const unsigned =
  (max: number): Read<number> =>
  (value, field) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max
      ? value
      : refuse(field, `a whole number from 0 to ${max}`)
const u16 = unsigned(0xffff)
const u32 = unsigned(0xffff_ffff)
const u64 = unsigned(Number.MAX_SAFE_INTEGER)
const bytes =
  (length: number): Read<Buffer> =>
  (value, field) =>
    Buffer.isBuffer(value) && value.length === length ? value : refuse(field, `a byte string of ${length}`)
const list =
  <T>(item: Read<T>): Read<T[]> =>
  (value, field) =>
    Array.isArray(value) ? value.map((entry, i) => item(entry, `${field}[${i}]`)) : refuse(field, 'an array')
const optional =
  <T>(inner: Read<T>): Read<T | undefined> =>
  (value, field) =>
    value === null || value === ABSENT ? undefined : inner(value, field)
const internalTxid: Read<Txid> = (value, field) => asTxid(fromInternal(bytes(32)(value, field)))
const internalBlockHash: Read<BlockHash> = (value, field) => asBlockHash(fromInternal(bytes(32)(value, field)))

/** Stands for a field that isn't there; no CBOR value is this array. */
const ABSENT: CborValue = []

/** A struct: a map with any order of keys, or the values alone in order. A key twice or missing is refused. */
const struct =
  <F extends Fields>(fields: F): Read<Struct<F>> =>
  (value, field) => {
    const names = Object.keys(fields)
    const found = new Map<string, CborValue>()
    if (Array.isArray(value)) {
      if (value.length !== names.length) refuse(field, `${names.length} values, in the order ${names.join(', ')}`)
      for (const [i, name] of names.entries()) found.set(name, value[i])
    } else if (value instanceof CborMap) {
      for (const [key, entry] of value.entries) {
        const name = identifier(key)
        if (name === undefined || !names.includes(name)) continue
        if (found.has(name)) refuse(`${field}.${name}`, 'this field only once')
        found.set(name, entry)
      }
    } else {
      refuse(field, `a map with ${names.join(', ')}`)
    }
    const read = names.map((name) => [name, readField(fields[name]!, found, name, field)])
    return Object.fromEntries(read) as Struct<F>
  }

function readField(read: Read<unknown>, found: Map<string, CborValue>, name: string, field: string): unknown {
  const path = field ? `${field}.${name}` : name
  if (found.has(name)) return read(found.get(name), path)
  try {
    return read(ABSENT, path) // an optional field has an answer for this
  } catch {
    return refuse(path, 'this field')
  }
}

/** Names of variants and fields come as text, or as the bytes of it. */
function identifier(value: CborValue): string | undefined {
  if (typeof value === 'string') return value
  return Buffer.isBuffer(value) ? value.toString('latin1') : undefined
}

const outpoint = struct({ txid: internalTxid, vout: u32 })

// ---- requests --------------------------------------------------------------------------------------------------------

type Reader<T> = 'unit' | Read<T>

/** The variants we serve, with their fields in the order of the Rust declarations. */
const REQUESTS: { readonly [T in Request['type']]: Reader<object> } = {
  Get: 'unit',
  Watch: struct({ outpoint }),
  Ping: struct({ address: text, port: u16 }),
  Pong: struct({ address: text }),
  Status: 'unit',
}

/** v1's client-to-tracker variants in declaration order: serde_cbor also takes a variant by its index. */
const V1_BY_INDEX = ['Post', 'Get', 'Pong', 'Watch']
/** v1 programs know no errors: a wrong v1 request gets its Error and then the end of the connection. */
const V1 = new Set([...V1_BY_INDEX, 'Ping'])

export type ParsedRequest =
  | { ok: true; request: Request }
  | { ok: false; code: 'bad_frame' | 'bad_request' | 'unknown_request'; message: string; closes: boolean }

/** Reads the payload of one frame, which may have a prefix byte 01 or 02 before its CBOR item. Never throws. */
export function parseRequest(payload: Buffer): ParsedRequest {
  let value: CborValue
  try {
    const hasPrefix = payload.length > 1 && (payload[0] === 0x01 || payload[0] === 0x02)
    value = decode(hasPrefix ? payload.subarray(1) : payload)
  } catch (error) {
    if (!(error instanceof CborError)) throw error
    return { ok: false, code: 'bad_frame', message: `not one CBOR value: ${error.message}`, closes: true }
  }
  const variant = readVariant(value)
  if (!variant) {
    const message =
      'expected a request: its name as a text, or a map of one entry (head byte a1) from its name to its fields'
    return { ok: false, code: 'unknown_request', message, closes: false }
  }
  const { name, content } = variant
  const reader = Object.hasOwn(REQUESTS, name) ? REQUESTS[name as Request['type']] : undefined
  if (!reader) {
    const known = Object.keys(REQUESTS).join(', ')
    const message = `${JSON.stringify(name.slice(0, 40))} is no request of this tracker; known are ${known}`
    return { ok: false, code: 'unknown_request', message, closes: false }
  }
  try {
    return { ok: true, request: { type: name, ...readContent(reader, content, name) } as Request }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return { ok: false, code: 'bad_request', message: error.message, closes: V1.has(name) }
  }
}

function readContent(reader: Reader<object>, content: CborValue, name: string): object {
  if (reader !== 'unit') return reader(content, name)
  return content === null ? {} : refuse(name, 'no fields')
}

/** `content` is null for a variant without fields. */
function readVariant(value: CborValue): { name: string; content: CborValue } | undefined {
  if (value instanceof CborMap) {
    const [entry] = value.entries
    const name = entry && variantName(entry[0])
    if (value.head !== 0xa1 || !entry || name === undefined) return undefined
    return { name, content: entry[1] }
  }
  const name = variantName(value)
  return name === undefined ? undefined : { name, content: null }
}

function variantName(value: CborValue): string | undefined {
  return typeof value === 'number' ? V1_BY_INDEX[value] : identifier(value)
}

/** A request as CBOR, for clients. */
export function encodeRequest(request: Request): Buffer {
  switch (request.type) {
    case 'Get':
    case 'Status':
      return encode(request.type)
    case 'Watch':
      return encode({ Watch: { outpoint: outpointFields(request.outpoint) } })
    case 'Ping':
      return encode({ Ping: { address: request.address, port: request.port } })
    case 'Pong':
      return encode({ Pong: { address: request.address } })
  }
}

function outpointFields({ txid, vout }: Outpoint): Encodable {
  return { txid: toInternal(txid), vout }
}

// ---- replies ---------------------------------------------------------------------------------------------------------

export function encodeReply(reply: Reply): Buffer {
  switch (reply.type) {
    case 'Address':
      return encode({ Address: { addresses: reply.addresses } })
    case 'WatchResponse':
      return encode({ WatchResponse: { mempool_tx: reply.transactions.map(watchedTxFields) } })
    case 'Pong':
      return encode({ Pong: { address: reply.address, ...tipFields(reply) } })
    case 'Status':
      return encode({
        Status: {
          version: reply.version,
          network: reply.network,
          height: reply.height,
          block_hash: toInternal(reply.blockHash),
          block_time: reply.blockTimeS,
          scanned_from: reply.scannedFrom,
          synced: reply.synced,
          bonds: reply.bonds,
          makers_up: reply.makersUp,
          digest: reply.digest,
          uptime_s: reply.uptimeS,
          unseen: reply.unseen,
        },
      })
    case 'Error':
      return encode({ Error: { code: reply.code, message: reply.message } })
  }
}

/** All three keys: each of the two Rust dialects needs another two of them. */
function watchedTxFields({ txid, seenAtMs, rawTx }: WatchedTx): Encodable {
  return { txid, seen_at: formatSeenAt(seenAtMs), rawtx: Buffer.from(rawTx).toString('hex') }
}

function tipFields({ version, network, height, blockHash, digest }: Partial<TipFields>): Record<string, Encodable> {
  if (blockHash === undefined) return {}
  return { version: version!, network: network!, height: height!, block_hash: toInternal(blockHash), digest: digest! }
}

/** chrono's NaiveDateTime: UTC without a zone; a fraction only when it isn't zero. */
export function formatSeenAt(unixMs: number): string {
  return new Date(unixMs).toISOString().replace(/(\.000)?Z$/, '')
}

const watchedTx = struct({ txid: text, seen_at: optional(text), rawtx: optional(text) })

const REPLIES: { readonly [T in Reply['type']]: Read<object> } = {
  Address: struct({ addresses: list(text) }),
  WatchResponse: (value, field) => {
    const { mempool_tx } = struct({ mempool_tx: list(watchedTx) })(value, field)
    const transactions: WatchedTx[] = mempool_tx.map(({ txid, seen_at, rawtx }) => ({
      txid: asTxid(txid),
      seenAtMs: seen_at === undefined ? Number.NaN : Date.parse(`${seen_at}Z`),
      rawTx: Buffer.from(rawtx ?? '', 'hex'),
    }))
    return { transactions }
  },
  Pong: (value, field) => {
    const { block_hash, ...fields } = struct({
      address: text,
      version: optional(text),
      network: optional(text),
      height: optional(u32),
      block_hash: optional(internalBlockHash),
      digest: optional(bytes(32)),
    })(value, field)
    return { ...fields, blockHash: block_hash }
  },
  Status: (value, field) => {
    const status = struct({
      version: text,
      network: text,
      height: u32,
      block_hash: internalBlockHash,
      block_time: u64,
      scanned_from: u32,
      synced: bool,
      bonds: u32,
      makers_up: u32,
      digest: bytes(32),
      uptime_s: u64,
      unseen: optional(struct({ from: u32, to: u32 })),
    })(value, field)
    const { block_hash, block_time, scanned_from, makers_up, uptime_s, unseen, ...same } = status
    const fields: StatusFields = {
      ...same,
      blockHash: block_hash,
      blockTimeS: block_time,
      scannedFrom: scanned_from,
      makersUp: makers_up,
      uptimeS: uptime_s,
    }
    if (unseen) fields.unseen = unseen
    return fields
  },
  Error: struct({ code: text, message: text }),
}

/** A reply was not what the protocol says; the message names the field. */
export class NotAReply extends Error {
  override readonly name = 'NotAReply'
}

/** Reads a tracker's reply, ours or another's. Throws NotAReply. */
export function parseReply(payload: Buffer): Reply {
  try {
    const variant = readVariant(decode(payload))
    const reader = variant && Object.hasOwn(REPLIES, variant.name) ? REPLIES[variant.name as Reply['type']] : undefined
    if (!variant || !reader) throw new NotAReply('a reply this program does not know')
    return { type: variant.name, ...reader(variant.content, variant.name) } as Reply
  } catch (error) {
    if (error instanceof NotAReply) throw error
    throw new NotAReply(`not a reply of a tracker: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}

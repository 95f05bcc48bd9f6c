/**
 * Every message of the wire, once: domain values ↔ CBOR payloads. Sources: docs/protocol.md, "Requests and replies";
 * what is accepted follows serde_cbor 0.11, because the clients are Rust programs.
 *
 * A message is a variant: a text for one without fields, else a map of one entry (head byte a1) from its name to its
 * fields. Fields we don't know are ignored. Txids inside outpoints, and block hashes, are byte strings in INTERNAL
 * order; txids that v1 sends as text are in display order.
 *
 * A new request is one entry in REQUESTS; the compiler then asks for its handler.
 */
import { ANNOUNCEMENT_FORMATS, BOND_STATES } from '../bonds/types.ts'
import type { WireErrorCode } from '../errors.ts'
import { REACHES } from '../peers/types.ts'
import { SPEND_STATES } from '../watch/spend.ts'
import { CborError, type CborValue, decode, encode } from './cbor.ts'
import { postedProof } from './fidelity-proof.ts'
import {
  blob,
  bool,
  bytes,
  dateTimeText,
  encodedOnce,
  hexText,
  internalBlockHash,
  internalTxid,
  list,
  type MessageOf,
  named,
  oneOf,
  optional,
  orElse,
  Refused,
  readVariant,
  type StructOf,
  shapeOf,
  struct,
  text,
  txidText,
  u16,
  u32,
  u64,
  unit,
  writeVariant,
} from './shape.ts'

// ---- requests --------------------------------------------------------------------------------------------------------

const outpoint = struct({ txid: internalTxid, vout: u32 })

const REQUESTS = {
  Get: unit,
  Watch: struct({ outpoint }),
  /** `url`: the maker's address. Keys are ours: without them a proof of today's makers can't be checked. */
  Post: struct({
    metadata: struct({
      url: text,
      proof: postedProof,
      tweakablePoint: named('tweakable_point', optional(bytes(33))),
      tweakChainCode: named('tweak_chain_code', optional(bytes(32))),
    }),
  }),
  Ping: struct({ address: text, port: u16 }),
  Pong: struct({ address: text }),
  Status: unit,
  Bonds: struct({
    /** Only those that come later, in the order of the list. */
    after: optional(outpoint),
    limit: optional(u32),
    minValue: named('min_value', optional(u64)),
    all: optional(bool),
  }),
  BondProof: struct({ outpoint }),
  WatchMany: struct({ outpoints: list(outpoint) }),
  Subscribe: struct({ outpoints: list(outpoint) }),
  Unsubscribe: struct({ outpoints: list(outpoint) }),
  /** `ttlBlocks`: how long from our tip on. `effort`: see watch/effort.ts. */
  Register: struct({ outpoints: list(outpoint), ttlBlocks: named('ttl_blocks', u32), effort: optional(bytes(8)) }),
  Why: struct({ address: text }),
  Trackers: unit,
}

export type Request = MessageOf<typeof REQUESTS>

/** v1's client-to-tracker variants in declaration order: serde_cbor also takes a variant by its index. */
const V1_BY_INDEX = ['Post', 'Get', 'Pong', 'Watch']
/** v1 programs know no errors: a wrong v1 request gets its Error and then the end of the connection. */
const V1 = new Set([...V1_BY_INDEX, 'Ping'])

// ---- replies ---------------------------------------------------------------------------------------------------------

/** One transaction that spends the outpoint asked about. All three keys: each of v1's two dialects needs two of them. */
const watchedTx = struct({
  txid: txidText,
  /** When it was first seen, Unix milliseconds; NaN when the tracker that answered doesn't say. */
  seenAtMs: named('seen_at', orElse(dateTimeText, Number.NaN)),
  /** Consensus encoding with witnesses; empty when the tracker that answered doesn't send it. */
  rawTx: named('rawtx', orElse(hexText, Buffer.alloc(0))),
})

const blockHash = named('block_hash', internalBlockHash)
const digest = bytes(32)

const tipFields = { version: text, network: text, height: u32, blockHash, digest }
export type TipFields = StructOf<typeof tipFields>

/** What is told of one outpoint; see watch/spend.ts. */
const spendFields = {
  outpoint,
  state: oneOf(SPEND_STATES),
  registered: bool,
  txid: optional(internalTxid),
  vin: optional(u32),
  tx: optional(blob),
  height: optional(u32),
  blockHash: named('block_hash', optional(internalBlockHash)),
  firstSeenS: named('first_seen', optional(u64)),
  conflicts: optional(list(internalTxid)),
}
export type SpendFields = StructOf<typeof spendFields>

/** One row of a list of bonds, with what is known of its maker; see bonds/types.ts and peers/liveness.ts. */
const bondFields = {
  outpoint,
  address: text,
  amountSats: named('amount', u64),
  /** Height, hash and header time of the confirming block; zeros while pending. */
  confHeight: named('conf_height', u32),
  blockHash,
  blockTimeS: named('block_time', u64),
  lockHeight: named('lock_height', optional(u32)),
  value: u64,
  format: oneOf(ANNOUNCEMENT_FORMATS),
  state: oneOf(BOND_STATES),
  refusal: optional(text),
  proven: bool,
  reach: oneOf(REACHES),
  lastUpS: named('last_up', optional(u64)),
  probes: u32,
  uptimePpm: named('uptime_ppm', optional(u32)),
  /** Absent in rows of trackers that do not look. */
  today: optional(bool),
  /** Absent where there are none. */
  todayRefusals: named('today_refusals', optional(list(text))),
}
export type BondFields = StructOf<typeof bondFields>
const bond = encodedOnce(struct(bondFields))

/** Encodes a row before the page that it is to stand in, which then costs a copy. */
export function encodeAhead(row: BondFields): BondFields {
  bond.write(row)
  return row
}

/** Heights of the window that were never read: bonds confirmed there are missing. Absent when there are none. */
const unseen = struct({ from: u32, to: u32 })

const REPLIES = {
  Address: struct({ addresses: list(text) }),
  WatchResponse: struct({ transactions: named('mempool_tx', list(watchedTx)) }),
  Pong: struct({
    address: text,
    // v1 makers send the address alone
    version: optional(text),
    network: optional(text),
    height: optional(u32),
    blockHash: named('block_hash', optional(internalBlockHash)),
    digest: optional(digest),
  }),
  Status: struct({
    version: text,
    network: text,
    height: u32,
    blockHash,
    /** Header time of the tip, Unix seconds. */
    blockTimeS: named('block_time', u64),
    scannedFrom: named('scanned_from', u32),
    synced: bool,
    bonds: u32,
    makersUp: named('makers_up', u32),
    digest,
    uptimeS: named('uptime_s', u64),
    unseen: optional(unseen),
    /** Chosen by chance at its start: whoever asks itself through Tor knows its own answer by it. */
    instance: optional(bytes(16)),
  }),
  /** One page: bonds ascending by outpoint, all as at the block named. */
  Bonds: struct({
    height: u32,
    blockHash,
    /** Of all live bonds at that block, whatever was asked for. */
    digest,
    /** How many bonds there are on all pages. */
    total: u32,
    bonds: list(bond),
    /** What `after` is to be for the next page; absent on the last one. */
    next: optional(outpoint),
    unseen: optional(unseen),
  }),
  BondProof: struct({
    tx: blob,
    header: bytes(80),
    height: u32,
    /** A BIP37 merkleblock. */
    merkle: blob,
  }),
  Spends: struct({
    height: u32,
    blockHash,
    /** Lowest height whose spends are indexed. */
    indexedFrom: named('indexed_from', u32),
    /** In the order asked. */
    spends: list(struct(spendFields)),
  }),
  /** Unasked, between replies: the state of a subscribed outpoint has changed to this. */
  Spend: struct(spendFields),
  Registered: struct({
    count: u32,
    /** The lowest of those asked. */
    untilHeight: named('until_height', u32),
    /** How many no transaction has made yet, and until when these are kept unless one does; absent when there are none. */
    unfunded: optional(u32),
    unfundedUntil: named('unfunded_until', optional(u32)),
  }),
  Posted: struct({ outpoint, address: text }),
  Why: struct({
    address: text,
    listed: bool,
    reasons: list(struct({ code: text, text, outpoint: optional(outpoint), height: optional(u32) })),
  }),
  Trackers: struct({
    trackers: list(
      struct({
        address: text,
        lastSeenS: named('last_seen', u64),
        /** Zeros for trackers that speak version 1 alone. */
        height: u32,
        digest,
        /** Absent while it was never at our block. */
        agrees: optional(bool),
      }),
    ),
  }),
  /** A WireErrorCode, or what another tracker's version calls it. */
  Error: struct({ code: text, message: text }),
}

export type Reply = MessageOf<typeof REPLIES>
export type ReplyOf<T extends Reply['type']> = Extract<Reply, { type: T }>

// ---- bytes ↔ messages ------------------------------------------------------------------------------------------------

export type ParsedRequest =
  | { ok: true; request: Request }
  | {
      ok: false
      code: 'bad_frame' | 'bad_request' | 'unknown_request'
      /** What was wrong and what is expected, for the client's author. */
      message: string
      /** Its name, when it is one of ours with wrong fields. */
      type?: Request['type']
      /** The connection is to be closed after the Error. */
      closes: boolean
    }

/** Reads the payload of one frame, which may have a prefix byte 01 or 02 before its CBOR item. Never throws. */
export function parseRequest(payload: Buffer): ParsedRequest {
  let value: CborValue
  try {
    // A payload of 01 alone has no prefix: it is the index of Get.
    const hasPrefix = payload.length > 1 && (payload[0] === 0x01 || payload[0] === 0x02)
    value = decode(hasPrefix ? payload.subarray(1) : payload)
  } catch (error) {
    if (!(error instanceof CborError)) throw error
    const message = `expected one CBOR value that fills the frame: ${error.message}`
    return { ok: false, code: 'bad_frame', message, closes: true }
  }
  const variant = readVariant(value, V1_BY_INDEX)
  if (!variant) {
    const message =
      'expected a request: its name as a text, or a map of one entry (head byte a1) from its name to its fields'
    return { ok: false, code: 'unknown_request', message, closes: false }
  }
  const { name, content } = variant
  const shape = shapeOf(REQUESTS, name)
  if (!shape) {
    const known = Object.keys(REQUESTS).join(', ')
    const message = `${JSON.stringify(name.slice(0, 40))} is no request of this tracker; known are ${known}`
    return { ok: false, code: 'unknown_request', message, closes: false }
  }
  const type = name as Request['type']
  try {
    return { ok: true, request: { type, ...shape.read(content, type) } as Request }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return { ok: false, code: 'bad_request', message: error.message, type, closes: V1.has(type) }
  }
}

/** A request as CBOR, for clients. */
export function encodeRequest(request: Request): Buffer {
  return encode(writeVariant(REQUESTS, request))
}

export function encodeReply(reply: Reply): Buffer {
  return encode(writeVariant(REPLIES, reply))
}

export function encodeError(code: WireErrorCode, message: string): Buffer {
  return encodeReply({ type: 'Error', code, message })
}

/** A reply was not what the protocol says; the message names the field. */
export class NotAReply extends Error {
  override readonly name = 'NotAReply'
}

/** Reads a tracker's reply, ours or another's. Throws NotAReply. */
export function parseReply(payload: Buffer): Reply {
  try {
    const variant = readVariant(decode(payload))
    const shape = variant && shapeOf(REPLIES, variant.name)
    if (!shape) throw new NotAReply('a reply this program does not know')
    return { type: variant.name, ...shape.read(variant.content, variant.name) } as Reply
  } catch (error) {
    if (!(error instanceof CborError || error instanceof Refused)) throw error
    throw new NotAReply(`not a reply of a tracker: ${error.message}`, { cause: error })
  }
}

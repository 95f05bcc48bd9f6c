/**
 * The maker protocol in every dialect a maker of some release speaks: requests as bytes, replies read strictly. Pure: who
 * dials, sends and waits is not known here. One frame out, one frame back, in the order of `asks`, on a connection of
 * its own; makers close without a reply what they don't understand. Source: docs/makers.md, "Dialects".
 */
import type { HostPort } from '../tor/address.ts'
import { CborError, decode, type Encodable, encode } from '../wire/cbor.ts'
import { fidelityProof } from '../wire/fidelity-proof.ts'
import {
  bool,
  bytes,
  f64,
  list,
  named,
  type OptionalShape,
  optional,
  orElse,
  Refused,
  readVariant,
  type Shape,
  struct,
  text,
  u16,
  u32,
  u64,
} from '../wire/shape.ts'
import { lightningFault, termsFault } from './offer-terms.ts'
import type { DialectName, LightningPart, LightningTerms, MakerReply, Offer, ReadReply } from './types.ts'

export const DIALECT_LIMITS = {
  /** An offer takes 700 bytes. What is longer means us no good, and takes us longer to read than others should wait. */
  replyBytesMax: 16_384,
}

/** One request and how its reply is read. */
export interface MakerQuestion {
  /** What a good reply brings. */
  brings: MakerReply['type']
  /** The CBOR item, without prefix and length. `self` is our own onion service, which only pings tell. */
  request(self: HostPort): Buffer
  /** The payload of one frame. Never throws. */
  read(payload: Buffer): ReadReply
}

export interface Dialect {
  name: DialectName
  /** The byte before every request, counted in the frame's length: 01 from takers, 02 from trackers. */
  prefix?: 0x01 | 0x02
  /** The first alone proves that a maker lives there; the last brings its offer (but a ping has none). */
  asks: readonly [MakerQuestion, ...MakerQuestion[]]
}

// ---- replies ---------------------------------------------------------------------------------------------------------

const limits = {
  lockBlocksMin: named('minimum_locktime', u16),
  amountSatsMax: named('max_size', u64),
  amountSatsMin: named('min_size', u64),
}
const tweakablePoint = named('tweakable_point', bytes(33))
const proof = named('fidelity', fidelityProof)

const lightningTerms: Shape<LightningTerms> = struct({
  swapIn: named('swap_in', bool),
  swapOut: named('swap_out', bool),
  baseFeeSats: named('base_fee', u64),
  amountFeePct: named('amount_relative_fee_pct', f64),
  amountSatsMin: named('min_size', u64),
  amountSatsMax: named('max_size', optional(u64)),
  swapInSatsMax: named('max_swap_in', optional(u64)),
  swapOutSatsMax: named('max_swap_out', optional(u64)),
})

/** Whatever stands there: it is a feature that is still being made, and must not cost the offer. */
const lightning: OptionalShape<LightningPart> = optional({
  read(value, at) {
    try {
      const terms = lightningTerms.read(value, at)
      const fault = lightningFault(terms)
      return fault === undefined ? { terms } : { fault }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      return { fault: error.message }
    }
  },
  write: (part) => ('terms' in part ? lightningTerms.write(part.terms) : null),
})

/** Of the legacy makers and of all since March 2026. Since May 2026 with a chain code; with Lightning terms in 2026, too. */
const offer = struct({
  baseFeeSats: named('base_fee', u64),
  amountFeePct: named('amount_relative_fee_pct', f64),
  timeFeePct: named('time_relative_fee_pct', f64),
  requiredConfirms: named('required_confirms', u32),
  ...limits,
  tweakablePoint,
  proof,
  tweakChainCode: named('tweak_chain_code', optional(bytes(32))),
  lightning,
})

/** Of the taproot makers before March 2026: other names, no confirmations. */
const taprootOffer = struct({
  tweakablePoint,
  baseFeeSats: named('base_fee', u64),
  amountFeePct: named('amount_relative_fee', f64),
  timeFeePct: named('time_relative_fee', f64),
  ...limits,
  proof,
})

const versions = struct({
  min: named('protocol_version_min', u32),
  max: named('protocol_version_max', u32),
})

/** Since 2026 makers say so of what they do not know; those before close. */
const unsupported = struct({ what: orElse(text, ''), reason: orElse(text, '') })

/** The one variant `name` with fields of `shape`, or `Unsupported`; anything else is a fault. */
function reader<T>(name: string, shape: Shape<T>, toReply: (content: T) => MakerReply): MakerQuestion['read'] {
  return (payload) => {
    try {
      const variant = readVariant(decode(payload))
      if (variant?.name === 'Unsupported') {
        return { ok: true, reply: { type: 'unsupported', ...unsupported.read(variant.content, 'Unsupported') } }
      }
      if (variant?.name !== name) {
        const got = variant ? JSON.stringify(variant.name.slice(0, 40)) : 'no variant'
        return { ok: false, fault: `expected ${name}, got ${got}` }
      }
      return { ok: true, reply: toReply(shape.read(variant.content, name)) }
    } catch (error) {
      if (!(error instanceof CborError || error instanceof Refused)) throw error
      return { ok: false, fault: `expected ${name}: ${error.message}` }
    }
  }
}

function offerReply(offer: Offer): MakerReply {
  const fault = termsFault(offer)
  return { type: 'offer', offer, ...(fault !== undefined && { fault }) }
}

// ---- requests and their replies --------------------------------------------------------------------------------------

function ask(brings: MakerQuestion['brings'], request: Encodable, read: MakerQuestion['read']): MakerQuestion {
  const payload = encode(request)
  return { brings, request: () => payload, read }
}

const VERSION_1 = { protocol_version_min: 1, protocol_version_max: 1 }

const unifiedHello = ask(
  'hello',
  { TakerHello: null },
  reader('MakerHello', struct({ protocols: named('supported_protocols', list(text)) }), ({ protocols }) => ({
    type: 'hello',
    protocols,
  })),
)
const unifiedOffer = ask('offer', { GetOffer: null }, reader('Offer', offer, offerReply))

const legacyHello = ask(
  'hello',
  { TakerHello: VERSION_1 },
  reader('MakerHello', versions, () => ({ type: 'hello' })),
)
const legacyOffer = ask('offer', { ReqGiveOffer: null }, reader('RespOffer', offer, offerReply))

const taprootOnlyOffer = ask(
  'offer',
  { GetOffer: { ...VERSION_1, number_of_transactions: 1 } },
  reader('RespOffer', taprootOffer, offerReply),
)

const readPong = reader('Pong', struct({ address: text }), ({ address }) => ({ type: 'pong', address }))
const ping: MakerQuestion = {
  brings: 'pong',
  request: ({ host, port }) => encode({ Ping: { address: host, port } }),
  read: readPong,
}
const pingUnit = ask('pong', 'Ping', readPong)

export const DIALECT: { readonly [N in DialectName]: Dialect & { name: N } } = {
  /** 0.2.1 and later. */
  unified: { name: 'unified', asks: [unifiedHello, unifiedOffer] },
  /** 0.2.0. */
  legacy: { name: 'legacy', asks: [legacyHello, legacyOffer] },
  taproot: { name: 'taproot', asks: [taprootOnlyOffer] },
  /** 0.1.2 and 0.1.3. */
  'legacy-prefixed': { name: 'legacy-prefixed', prefix: 0x01, asks: [legacyHello, legacyOffer] },
  'taproot-prefixed': { name: 'taproot-prefixed', prefix: 0x01, asks: [taprootOnlyOffer] },
  /** 0.1.3 answers a tracker, too. */
  ping: { name: 'ping', prefix: 0x02, asks: [ping] },
  /** 0.1.2 where it was built with its tracker feature. */
  'ping-unit': { name: 'ping-unit', prefix: 0x02, asks: [pingUnit] },
}

/**
 * Makers' records and offers as JSON, read back. Trackers of other versions write them, too: fields that are not known
 * here are left out, and words that are not are none.
 */
import { z } from 'zod'
import { PROOF_CHECKS } from '../../../bonds/proof.ts'
import type { Txid } from '../../../chain/types.ts'
import { DIALECTS, type MakerRecord, type OfferTerms, PROBE_FAILURES } from '../../../peers/types.ts'
import type { MakerNews } from '../store.ts'

const text = z.string().exactOptional()
const number = z.number().exactOptional()

const verdictSchema = z.object({
  atMs: z.number(),
  outpoint: z.object({ txid: z.string().regex(/^[0-9a-f]{64}$/), vout: z.int().min(0) }),
  failed: text,
  text,
})

const recordSchema = z.object({
  address: z.string(),
  lastProbeMs: z.number(),
  lastUpMs: number,
  failures: z.number(),
  firstFailureMs: number,
  lastFailureMs: number,
  failure: text,
  failureText: text,
  dialect: text,
  protocols: z.array(z.string()).exactOptional(),
  pingedMs: number,
  offerAskedMs: number,
  offerFault: text,
  verdict: verdictSchema.exactOptional(),
})

const lightningSchema = z.union([
  z.object({ fault: z.string() }),
  z.object({
    terms: z.object({
      swapIn: z.boolean(),
      swapOut: z.boolean(),
      baseFeeSats: z.number(),
      amountFeePct: z.number(),
      amountSatsMin: z.number(),
      amountSatsMax: number,
      swapInSatsMax: number,
      swapOutSatsMax: number,
    }),
  }),
])

const offerSchema: z.ZodType<OfferTerms> = z.object({
  atMs: z.number(),
  baseFeeSats: z.number(),
  amountFeePct: z.number(),
  timeFeePct: z.number(),
  requiredConfirms: number,
  lockBlocksMin: z.number(),
  amountSatsMin: z.number(),
  amountSatsMax: z.number(),
  lightning: lightningSchema.exactOptional(),
})

/** Throws ZodError where it can't be read. `offer`: null is none. */
export function makerNewsOf(record: unknown, offer: unknown): MakerNews {
  const known = recordOf(recordSchema.parse(record))
  return { record: known, ...(offer !== null && { offer: offerSchema.parse(offer) }) }
}

function recordOf(parsed: z.output<typeof recordSchema>): MakerRecord {
  const { failure, dialect, offerAskedMs, offerFault, verdict, ...rest } = parsed
  const record: MakerRecord = rest
  const knownFailure = word(PROBE_FAILURES, failure)
  const knownDialect = word(DIALECTS, dialect)
  if (knownFailure) record.failure = knownFailure
  if (knownDialect) record.dialect = knownDialect
  const failed = word(PROOF_CHECKS, verdict?.failed)
  // A check that this version doesn't make says nothing: the offer is asked for anew.
  if (verdict?.failed !== undefined && !failed) return record
  if (offerAskedMs !== undefined) record.offerAskedMs = offerAskedMs
  if (offerFault !== undefined) record.offerFault = offerFault
  if (verdict) {
    const { outpoint, failed: _, ...said } = verdict
    const { txid, vout } = outpoint
    record.verdict = { ...said, outpoint: { txid: txid as Txid, vout }, ...(failed && { failed }) }
  }
  return record
}

/** Undefined for a word that isn't among those. */
export function word<W extends string>(words: readonly W[], said: string | null | undefined): W | undefined {
  return words.find((known) => known === said)
}

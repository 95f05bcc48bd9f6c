/** Makers that were probed, their last offers, and which bonds are proven. */
import { type CertificateEra, PROOF_CHECKS, type ProofCheck } from '../../bonds/proof.ts'
import { type BlockHash, formatOutpoint, type Outpoint } from '../../chain/types.ts'
import type {
  DialectName,
  LightningPart,
  LightningTerms,
  MakerRecord,
  OfferTerms,
  ProbeFailure,
} from '../../peers/types.ts'
import { columnBlockHash, columnList, columnObject, columnTxid, hashColumn } from '../columns.ts'
import { type Db, sql } from '../open.ts'
import type { MakerColumns, OfferColumns, Schema } from '../schema.ts'
import type { MakerNews } from './store.ts'
import { tieOf } from './tie.ts'

/** Adds or replaces the maker's row. Returns its id for the other tables of this room. */
export function upsertMaker(db: Db, record: MakerRecord): number {
  const columns = makerColumns(record)
  const insert = sql
    .insertInto('makers')
    .values(columns)
    .onConflict((conflict) => conflict.column('address').doUpdateSet(columns))
    .returning('id')
  return db.first(insert)!.id
}

export function readMakers(db: Db): MakerRecord[] {
  return db.all(sql.selectFrom('makers').selectAll()).map(makerOf)
}

/** Whether `news` say more than what is known: they are of a later probe, or with a later offer; see store.ts. */
export function isLater(news: MakerNews, known: MakerNews | undefined): boolean {
  if (!known) return true
  const [a, b] = [news.record, known.record]
  if (a.lastProbeMs !== b.lastProbeMs) return a.lastProbeMs > b.lastProbeMs
  const [askedMs, knownAskedMs] = [a.offerAskedMs ?? -1, b.offerAskedMs ?? -1]
  return askedMs === knownAskedMs ? tieOf(news) > tieOf(known) : askedMs > knownAskedMs
}

export function readMaker(db: Db, address: string): MakerRecord | undefined {
  const row = db.first(sql.selectFrom('makers').selectAll().where('address', '=', address))
  return row && makerOf(row)
}

/** The maker's id for the other tables of this room, if it has a row. */
export function readMakerId(db: Db, address: string): number | undefined {
  return db.first(sql.selectFrom('makers').select('id').where('address', '=', address))?.id
}

export function readMakerNews(db: Db, address: string): MakerNews | undefined {
  const record = readMaker(db, address)
  return record && makerNews(record, readOffer(db, address))
}

export function makerNews(record: MakerRecord, offer: OfferTerms | undefined): MakerNews {
  return { record, ...(offer && { offer }) }
}

/** Another's record with its offer: replaces what is here, if it says more. Returns whether it does. */
export function mergeMaker(db: Db, news: MakerNews): boolean {
  const { record, offer } = news
  if (!isLater(news, readMakerNews(db, record.address))) return false
  const id = upsertMaker(db, record)
  if (offer) upsertOffer(db, id, offer)
  else deleteOffer(db, id)
  return true
}

/** Forgets makers that were not probed since `beforeMs`, with all that hangs on them. */
export function deleteMakersBefore(db: Db, beforeMs: number): void {
  db.run(sql.deleteFrom('makers').where('last_probe_ms', '<', beforeMs))
}

export function upsertOffer(db: Db, makerId: number, terms: OfferTerms): void {
  const columns = {
    at_ms: terms.atMs,
    base_fee_sats: terms.baseFeeSats,
    amount_fee_pct: terms.amountFeePct,
    time_fee_pct: terms.timeFeePct,
    required_confirms: terms.requiredConfirms ?? null,
    lock_blocks_min: terms.lockBlocksMin,
    amount_sats_min: terms.amountSatsMin,
    amount_sats_max: terms.amountSatsMax,
    ...lightningColumns(terms.lightning),
  }
  db.run(
    sql
      .insertInto('offers')
      .values({ maker_id: makerId, ...columns })
      .onConflict((conflict) => conflict.column('maker_id').doUpdateSet(columns)),
  )
}

export function deleteOffer(db: Db, makerId: number): void {
  db.run(sql.deleteFrom('offers').where('maker_id', '=', makerId))
}

/** The last offer of each maker, by address. */
export function readOffers(db: Db): Map<string, OfferTerms> {
  return new Map(db.all(offersWithAddress()).map((row) => [row.address, offerOf(row)]))
}

/** The last offer of one maker, if it has one without a fault. */
export function readOffer(db: Db, address: string): OfferTerms | undefined {
  const row = db.first(offersWithAddress().where('m.address', '=', address))
  return row && offerOf(row)
}

function offersWithAddress() {
  return sql.selectFrom('offers as o').innerJoin('makers as m', 'm.id', 'o.maker_id').selectAll('o').select('m.address')
}

function offerOf(row: OfferColumns): OfferTerms {
  const terms: OfferTerms = {
    atMs: row.at_ms,
    baseFeeSats: row.base_fee_sats,
    amountFeePct: row.amount_fee_pct,
    timeFeePct: row.time_fee_pct,
    lockBlocksMin: row.lock_blocks_min,
    amountSatsMin: row.amount_sats_min,
    amountSatsMax: row.amount_sats_max,
  }
  if (row.required_confirms !== null) terms.requiredConfirms = row.required_confirms
  const lightning = lightningPart(row)
  if (lightning) terms.lightning = lightning
  return terms
}

type LightningColumns = Pick<OfferColumns, 'lightning' | 'lightning_fault'>

function lightningColumns(part: LightningPart | undefined): LightningColumns {
  return {
    lightning: part && 'terms' in part ? JSON.stringify(part.terms) : null,
    lightning_fault: part && 'fault' in part ? part.fault : null,
  }
}

function lightningPart(row: LightningColumns): LightningPart | undefined {
  if (row.lightning_fault !== null) return { fault: row.lightning_fault }
  if (row.lightning === null) return undefined
  return { terms: columnObject(row.lightning, 'offers', lightningTerms) }
}

/** What of its fields is no number that can be meant is told where the terms are shown. */
function lightningTerms(value: unknown): LightningTerms | undefined {
  const { swapIn, swapOut } = (value ?? {}) as Partial<LightningTerms>
  return typeof swapIn === 'boolean' && typeof swapOut === 'boolean' ? (value as LightningTerms) : undefined
}

export interface ProvenBond {
  outpoint: Outpoint
  /** The block the bond was in when it was proven; in another one it is not. */
  confHash: BlockHash
  era: CertificateEra
  source: 'offer' | 'post'
  atMs: number
}

export function upsertProof(db: Db, proof: ProvenBond): void {
  const columns = {
    conf_hash: hashColumn(proof.confHash),
    era: proof.era,
    source: proof.source,
    at_ms: proof.atMs,
  }
  db.run(
    sql
      .insertInto('proofs')
      .values({ txid: hashColumn(proof.outpoint.txid), vout: proof.outpoint.vout, ...columns })
      .onConflict((conflict) => conflict.columns(['txid', 'vout']).doUpdateSet(columns)),
  )
  const { txid, vout } = proof.outpoint
  db.run(sql.deleteFrom('proofs_taken_back').where('txid', '=', hashColumn(txid)).where('vout', '=', vout))
}

/** Its maker shows it no more since `atMs`. */
export function takeProofBack(db: Db, { txid, vout }: Outpoint, atMs: number): void {
  db.run(sql.deleteFrom('proofs').where('txid', '=', hashColumn(txid)).where('vout', '=', vout))
  db.run(
    sql
      .insertInto('proofs_taken_back')
      .values({ txid: hashColumn(txid), vout, at_ms: String(atMs) })
      .onConflict((conflict) => conflict.columns(['txid', 'vout']).doUpdateSet({ at_ms: String(atMs) })),
  )
}

/** Since when its maker shows no proof of it, Unix milliseconds; undefined while it does, or never did. */
export function readTakenBackMs(db: Db, { txid, vout }: Outpoint): number | undefined {
  const one = sql.selectFrom('proofs_taken_back').select('at_ms').where('txid', '=', hashColumn(txid))
  const row = db.first(one.where('vout', '=', vout))
  return row && Number(row.at_ms)
}

/** All of them, with since when. */
export function readProofsTakenBack(db: Db): { outpoint: Outpoint; atMs: number }[] {
  const rows = db.all(sql.selectFrom('proofs_taken_back').selectAll())
  return rows.map(({ txid, vout, at_ms }) => ({ outpoint: { txid: columnTxid(txid), vout }, atMs: Number(at_ms) }))
}

/** By outpoint as text. */
export function readProofs(db: Db): Map<string, ProvenBond> {
  const proofs = db.all(sql.selectFrom('proofs').selectAll()).map(proofOf)
  return new Map(proofs.map((proof) => [formatOutpoint(proof.outpoint), proof]))
}

export function readProof(db: Db, { txid, vout }: Outpoint): ProvenBond | undefined {
  const one = sql.selectFrom('proofs').selectAll().where('txid', '=', hashColumn(txid)).where('vout', '=', vout)
  const row = db.first(one)
  return row && proofOf(row)
}

function proofOf(row: Schema['proofs']): ProvenBond {
  return {
    outpoint: { txid: columnTxid(row.txid), vout: row.vout },
    confHash: columnBlockHash(row.conf_hash),
    era: row.era as CertificateEra,
    source: row.source as ProvenBond['source'],
    atMs: row.at_ms,
  }
}

function makerColumns(record: MakerRecord): MakerColumns {
  const { verdict } = record
  return {
    address: record.address,
    last_probe_ms: record.lastProbeMs,
    last_up_ms: record.lastUpMs ?? null,
    failures: record.failures,
    first_failure_ms: record.firstFailureMs ?? null,
    last_failure_ms: record.lastFailureMs ?? null,
    failure: record.failure ?? null,
    failure_text: record.failureText ?? null,
    dialect: record.dialect ?? null,
    protocols: record.protocols ? JSON.stringify(record.protocols) : null,
    pinged_ms: record.pingedMs ?? null,
    offer_asked_ms: record.offerAskedMs ?? null,
    offer_fault: record.offerFault ?? null,
    proof_ms: verdict?.atMs ?? null,
    proof_txid: verdict ? hashColumn(verdict.outpoint.txid) : null,
    proof_vout: verdict?.outpoint.vout ?? null,
    proof_failed: verdict?.failed ?? null,
    proof_text: verdict?.text ?? null,
  }
}

function makerOf(row: MakerColumns): MakerRecord {
  const record: MakerRecord = { address: row.address, lastProbeMs: row.last_probe_ms, failures: row.failures }
  if (row.last_up_ms !== null) record.lastUpMs = row.last_up_ms
  if (row.first_failure_ms !== null) record.firstFailureMs = row.first_failure_ms
  if (row.last_failure_ms !== null) record.lastFailureMs = row.last_failure_ms
  if (row.failure !== null) record.failure = row.failure as ProbeFailure
  if (row.failure_text !== null) record.failureText = row.failure_text
  if (row.dialect !== null) record.dialect = row.dialect as DialectName
  if (row.protocols !== null) record.protocols = columnList(row.protocols, 'makers', String)
  if (row.pinged_ms !== null) record.pingedMs = row.pinged_ms
  // A check that this version doesn't make says nothing: the offer is asked for anew.
  if (row.proof_failed !== null && !PROOF_CHECKS.includes(row.proof_failed as ProofCheck)) return record
  if (row.offer_asked_ms !== null) record.offerAskedMs = row.offer_asked_ms
  if (row.offer_fault !== null) record.offerFault = row.offer_fault
  if (row.proof_ms !== null && row.proof_txid && row.proof_vout !== null) {
    record.verdict = {
      atMs: row.proof_ms,
      outpoint: { txid: columnTxid(row.proof_txid), vout: row.proof_vout },
      ...(row.proof_failed !== null && { failed: row.proof_failed as ProofCheck }),
      ...(row.proof_text !== null && { text: row.proof_text }),
    }
  }
  return record
}

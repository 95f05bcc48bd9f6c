/**
 * The shared store of a tracker that shares with nobody: its own SQLite file. And how news, whoever tells them, get into
 * that file.
 */
import { type Db, sql } from '../open.ts'
import { diskCommit } from './disk-commit.ts'
import type { GroupCommit } from './group-commit.ts'
import {
  mergeMaker,
  type ProvenBond,
  readMakerId,
  readProof,
  readTakenBackMs,
  takeProofBack,
  upsertProof,
} from './makers.ts'
import { mergeHour, mergeProbe } from './probes.ts'
import { deleteRegistration, type Registration, upsertRegistration } from './registrations.ts'
import type { Claim, OwnShared, ProofNews, SharedNews, SharedPosition } from './store.ts'

const LIMITS = {
  /** Rows written in one go: some 2 ms. */
  rowsAtOnce: 200,
}

export class LocalShared implements OwnShared {
  readonly isAway = false
  readonly #db: Db
  readonly #commits: GroupCommit<Registration>

  constructor(db: Db) {
    this.#db = db
    this.#commits = diskCommit(db, LIMITS.rowsAtOnce, (row) => upsertRegistration(db, row))
  }

  register(registrations: readonly Registration[]): Promise<void> {
    return this.#commits.add(registrations)
  }

  settled(): Promise<void> {
    return this.#commits.settled()
  }

  async merge(news: SharedNews): Promise<void> {
    this.#db.transaction(() => mergeNews(this.#db, news))
  }

  /** Nobody else probes. */
  async claim(hosts: readonly string[]): Promise<Claim[]> {
    return hosts.map((host) => ({ host, isOurs: true, waitMs: 0 }))
  }

  async release(): Promise<void> {}

  /** Nobody else takes any. */
  async take(): Promise<boolean> {
    return true
  }

  async drop(): Promise<void> {}
}

/** Within a transaction. What is held in memory besides is the caller's concern. Probes and hours of a maker without a record are left out. */
export function mergeNews(db: Db, news: SharedNews): void {
  for (const outpoint of news.dropped ?? []) deleteRegistration(db, outpoint)
  for (const registration of news.registrations ?? []) upsertRegistration(db, registration)
  for (const maker of news.makers ?? []) mergeMaker(db, maker)
  for (const proof of news.proofs ?? []) mergeProof(db, proof)
  for (const { address, ...probe } of news.probes ?? []) {
    const makerId = readMakerId(db, address)
    if (makerId !== undefined) mergeProbe(db, makerId, probe)
  }
  for (const { address, ...counts } of news.hours ?? []) {
    const makerId = readMakerId(db, address)
    if (makerId !== undefined) mergeHour(db, makerId, counts)
  }
}

/** Returns the proof as it is now, or undefined where nothing has changed. */
export function mergeProof(db: Db, { outpoint, atMs, proven }: ProofNews): ProvenBond | 'taken back' | undefined {
  const known = readProof(db, outpoint)
  const proof = proven && { outpoint, atMs, ...proven }
  const takenBackMs = readTakenBackMs(db, outpoint)
  if (takenBackMs !== undefined && !outranks([atMs, proof], [takenBackMs, undefined])) return undefined
  if (known && !outranks([atMs, proof], [known.atMs, known])) return undefined
  if (proof) {
    upsertProof(db, proof)
    return proof
  }
  takeProofBack(db, outpoint, atMs)
  return known && 'taken back'
}

/** The later one counts; of the same moment a proof before none, and else any, but always the same. */
function outranks(a: [atMs: number, proof: ProvenBond | undefined], b: typeof a): boolean {
  const rank = (proof: ProvenBond | undefined) => (proof ? `${proof.confHash} ${proof.era} ${proof.source}` : '')
  return a[0] === b[0] ? rank(a[1]) > rank(b[1]) : a[0] > b[0]
}

/** Undefined where this file has never read what others have told. */
export function readSharedPosition(db: Db): SharedPosition | undefined {
  return db.first(sql.selectFrom('shared_position').select(['place', 'change']))
}

export function storeSharedPosition(db: Db, position: SharedPosition): void {
  db.run(
    sql
      .insertInto('shared_position')
      .values({ id: 1, ...position })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ ...position })),
  )
}

/** Without a shared store: what happens from here on is not noted, so that this file must be compared as a whole before it is shared again. */
export function forgetSharedPosition(db: Db): void {
  db.transaction(() => {
    db.run(sql.deleteFrom('shared_position'))
    db.run(sql.deleteFrom('untold'))
  })
}

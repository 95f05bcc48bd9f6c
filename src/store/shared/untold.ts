/**
 * What was written to this tracker's file and is not known to be in the shared store yet. A note is made in the transaction
 * that writes the row, and taken back once the row is told: whatever happens in between, nothing is lost, and what is told
 * twice is merged into the same.
 */
import { formatOutpoint, type Outpoint, parseOutpoint } from '../../chain/types.ts'
import { type Db, sql } from '../open.ts'
import { type ProvenBond, readMakerNews, readProof, readTakenBackMs } from './makers.ts'
import { readHour, readProbe } from './probes.ts'
import { readRegistration } from './registrations.ts'
import type { HourNews, ProbeNews, ProofNews, SharedNews } from './store.ts'

type Kind = 'registration' | 'maker' | 'proof' | 'probe' | 'hour'

export interface Note {
  kind: Kind
  key: string
  /** Unix milliseconds or later: grows with each note. */
  noted: number
}

export class Untold {
  readonly #db: Db
  readonly #isShared: boolean
  readonly #nowMs: () => number
  #last = 0
  /** Called when there is something to tell; the transaction may not have ended yet. */
  onNote: () => void = () => {}

  /** Without a shared store (`isShared` false) nothing is noted. */
  constructor(db: Db, isShared: boolean, nowMs: () => number) {
    this.#db = db
    this.#isShared = isShared
    this.#nowMs = nowMs
    const last = db.first(sql.selectFrom('untold').select(({ fn }) => fn.max('noted').as('noted')))
    this.#last = last?.noted ?? 0
  }

  registration(outpoint: Outpoint): void {
    this.#note('registration', formatOutpoint(outpoint))
  }

  maker(address: string): void {
    this.#note('maker', address)
  }

  proof(outpoint: Outpoint): void {
    this.#note('proof', formatOutpoint(outpoint))
  }

  /** The row of that id, and the hour that has counted it. */
  probe(id: number, hour: { makerId: number; hour: number; source: number }): void {
    this.#note('probe', String(id))
    this.#note('hour', `${hour.makerId}/${hour.hour}/${hour.source}`)
  }

  #note(kind: Kind, key: string): void {
    if (!this.#isShared) return
    this.#last = Math.max(this.#last + 1, this.#nowMs())
    const noted = this.#last
    this.#db.run(
      sql
        .insertInto('untold')
        .values({ kind, key, noted })
        .onConflict((conflict) => conflict.columns(['kind', 'key']).doUpdateSet({ noted })),
    )
    this.onNote()
  }

  count(): number {
    return this.#db.first(sql.selectFrom('untold').select(({ fn }) => fn.countAll<number>().as('count')))!.count
  }

  read(limit: number): Note[] {
    return this.#db.all(sql.selectFrom('untold').selectAll().limit(limit)) as Note[]
  }

  /** They are told, as they were noted then. */
  told(notes: readonly Note[]): void {
    this.#db.transaction(() => {
      for (const { kind, key, noted } of notes) {
        const one = sql.deleteFrom('untold').where('kind', '=', kind).where('key', '=', key)
        this.#db.run(one.where('noted', '=', noted))
      }
    })
  }

  /** Up to which notes have been made: what they are of is in the file. */
  mark(): number {
    return this.#last
  }

  /** All that was noted up to `mark` is told, as the whole file was. */
  toldUntil(mark: number): void {
    this.#db.run(sql.deleteFrom('untold').where('noted', '<=', mark))
  }
}

/** What the notes are of, as the file has it now; what it has no more is left out. */
export function newsOf(db: Db, notes: readonly Note[]): SharedNews {
  const of = (kind: Kind) => notes.filter((note) => note.kind === kind)
  const found = <T>(kind: Kind, read: (note: Note) => T | undefined): T[] =>
    of(kind).flatMap((note) => {
      const one = read(note)
      return one === undefined ? [] : [one]
    })
  return {
    registrations: found('registration', ({ key }) => readRegistration(db, parseOutpoint(key)!)),
    makers: found('maker', ({ key }) => readMakerNews(db, key)),
    proofs: found('proof', ({ key }) => proofNews(db, parseOutpoint(key)!)),
    probes: found('probe', ({ key }): ProbeNews | undefined => readProbe(db, Number(key))),
    hours: found('hour', ({ key }): HourNews | undefined => {
      const [makerId, hour, source] = key.split('/').map(Number)
      return withoutMakerId(readHour(db, { makerId: makerId!, hour: hour!, source: source! }))
    }),
  }
}

function proofNews(db: Db, outpoint: Outpoint): ProofNews | undefined {
  const proof = readProof(db, outpoint)
  if (proof) return provenNews(proof)
  const atMs = readTakenBackMs(db, outpoint)
  return atMs === undefined ? undefined : { outpoint, atMs }
}

export function provenNews({ outpoint, atMs, ...proven }: ProvenBond): ProofNews {
  return { outpoint, atMs, proven }
}

/** The id is this file's own. */
export function withoutMakerId<T extends HourNews & { makerId: number }>(row: T | undefined): HourNews | undefined {
  if (!row) return undefined
  const { makerId: _, ...hour } = row
  return hour
}

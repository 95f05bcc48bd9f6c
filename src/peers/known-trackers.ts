/**
 * The other trackers that are known, in memory and in the store: those the operator names, and of those that were learnt
 * so many, one a host. The store's rows are what counts: one that another process deletes is forgotten.
 */

import {
  deleteTracker,
  insertTracker,
  readTrackerAddresses,
  readTrackers,
  type TrackerRecord,
  updateTracker,
} from '../store/local/trackers.ts'
import type { Db } from '../store/open.ts'
import { formatHostPort, type HostPort, parseHostPort } from '../tor/address.ts'
import { dialledHost } from './dial-budget.ts'

export const KNOWN_LIMITS = {
  /**
   * Learnt ones. The market has a handful of trackers; what comes beyond is somebody's game. Each is asked about once an
   * hour, so that two thirds of an hour's dials remain for those that are not known yet.
   */
  learntMax: 40,
}

export class KnownTrackers {
  readonly #db: Db
  readonly #random: () => number
  readonly #records = new Map<string, TrackerRecord>()
  /** Whose records those are. */
  #hosts = new Set<string>()
  #revision = 0

  constructor(db: Db, configured: readonly HostPort[], nowS: number, random: () => number) {
    this.#db = db
    this.#random = random
    const stored = new Map(readTrackers(db).map((record) => [record.address, record]))
    for (const address of configured.map(formatHostPort)) {
      const before = stored.get(address) ?? { address, addedS: nowS, failures: 0 }
      this.keep({ ...before, source: 'configured' })
      stored.delete(address)
    }
    // One that is configured no more is as good as a learnt one.
    for (const record of [...stored.values()].sort((a, b) => a.addedS - b.addedS)) {
      const target = parseHostPort(record.address)
      if (target && !this.hasHost(target) && this.#learnt().length < KNOWN_LIMITS.learntMax) {
        this.keep({ ...record, source: 'learnt' })
      } else deleteTracker(db, record.address)
    }
  }

  /** By address. */
  list(): TrackerRecord[] {
    return [...this.#records.values()].sort((a, b) => (a.address < b.address ? -1 : 1))
  }

  get(address: string): TrackerRecord | undefined {
    return this.#records.get(address)
  }

  hasHost(target: HostPort): boolean {
    return this.#hosts.has(dialledHost(target))
  }

  /** Changes whenever a record has. */
  get revision(): number {
    return this.#revision
  }

  /** One that is new, in a place that is free or becomes so. */
  learn(record: TrackerRecord): void {
    this.#makeRoom()
    insertTracker(this.#db, withoutNames(record))
    this.#put(withoutNames(record))
  }

  /** What is known of one now. A learnt one whose row is gone was forgotten meanwhile, and stays so. */
  keep(record: TrackerRecord): void {
    const kept = withoutNames(record)
    const hadRow = updateTracker(this.#db, kept)
    if (!hadRow && kept.source === 'learnt') return this.#drop(kept.address)
    if (!hadRow) insertTracker(this.#db, kept)
    this.#put(kept)
  }

  forget(address: string): void {
    deleteTracker(this.#db, address)
    this.#drop(address)
  }

  /** Takes note of those that another process has forgotten; returns their addresses. */
  noticeForgotten(): string[] {
    const stored = new Set(readTrackerAddresses(this.#db))
    const gone = this.#learnt().flatMap(({ address }) => (stored.has(address) ? [] : [address]))
    for (const address of gone) this.#drop(address)
    return gone
  }

  /**
   * A place for a newcomer among the learnt: free, or that of the one asked in vain most often, or of any of the younger
   * half. The older half stays: whoever has many addresses can't take the place of those that were there before.
   */
  #makeRoom(): void {
    const learnt = this.#learnt().sort((a, b) => b.failures - a.failures || b.addedS - a.addedS)
    if (learnt.length < KNOWN_LIMITS.learntMax) return
    const isFailing = learnt[0]!.failures > 0
    const at = isFailing ? 0 : Math.floor((this.#random() * learnt.length) / 2)
    this.forget(learnt[at]!.address)
  }

  #learnt(): TrackerRecord[] {
    return [...this.#records.values()].filter(({ source }) => source === 'learnt')
  }

  #put(record: TrackerRecord): void {
    this.#records.set(record.address, record)
    this.#noteHosts()
  }

  #drop(address: string): void {
    this.#records.delete(address)
    this.#noteHosts()
  }

  #noteHosts(): void {
    this.#hosts = new Set([...this.#records.keys()].map((address) => dialledHost(parseHostPort(address)!)))
    this.#revision++
  }
}

/** Of a learnt one is kept whether its list was ours, not which bonds it names: it may name any. */
function withoutNames(record: TrackerRecord): TrackerRecord {
  const { source, compared } = record
  if (source !== 'learnt' || !compared) return record
  return { ...record, compared: { ...compared, onlyOurs: [], onlyTheirs: [] } }
}

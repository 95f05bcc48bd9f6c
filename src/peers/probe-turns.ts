/**
 * Whose turn it is to be probed. A host has one schedule, however many addresses its bonds announce: they take turns, so
 * that a hundred cheap bonds of one host cost what one costs. Every other turn is for an address that answered last: who
 * announces somebody else's host with made-up ports doesn't make the real one unknown.
 */
import { parseHostPort } from '../tor/address.ts'
import { dialledHost } from './dial-budget.ts'
import { hostFreeMs, nextProbeMs, type ProbeRules } from './reach.ts'
import type { MakerRecord } from './types.ts'

/** When one address is due, and its host. Times are Unix milliseconds. */
interface Turn {
  host: string
  dueMs: number
}

interface HostTurns {
  /** Before this none of its addresses is probed. */
  freeMs: number
  /** The last turn was for one that answers. */
  wasAnswering: boolean
}

export interface DueProbe {
  address: string
  host: string
  /** Since when it might have been probed. */
  dueMs: number
}

type Candidate = DueProbe & { addressDueMs: number; isAnswering: boolean }

export class ProbeTurns {
  readonly #rules: ProbeRules
  readonly #random: () => number
  readonly #turns = new Map<string, Turn>()
  readonly #hosts = new Map<string, HostTurns>()

  constructor(rules: ProbeRules, random: () => number) {
    this.#rules = rules
    this.#random = random
  }

  /**
   * The address of each host whose turn it is by `nowMs`, the most overdue first, and when the next one will be due.
   * `isBusy`: a probe of the host is under way. What is on the market no more is forgotten.
   */
  due(
    addresses: Iterable<string>,
    recordOf: (address: string) => MakerRecord | undefined,
    isBusy: (host: string) => boolean,
    nowMs: number,
  ): { due: DueProbe[]; nextMs: number } {
    const chosen = new Map<string, Candidate>()
    const known = new Set<string>()
    let nextMs = Number.POSITIVE_INFINITY
    for (const address of addresses) {
      known.add(address)
      const record = recordOf(address)
      const { host, dueMs: addressDueMs } = this.#turnOf(address, record, nowMs)
      if (isBusy(host)) continue
      const { freeMs, wasAnswering } = this.#hosts.get(host)!
      const dueMs = Math.max(addressDueMs, freeMs)
      if (dueMs > nowMs) {
        nextMs = Math.min(nextMs, dueMs)
        continue
      }
      const probe = { address, host, dueMs, addressDueMs, isAnswering: isAnswering(record) }
      const rival = chosen.get(host)
      if (!rival || comesBefore(probe, rival, wasAnswering)) chosen.set(host, probe)
    }
    this.#forget(known, nowMs)
    return { due: [...chosen.values()].sort((a, b) => a.dueMs - b.dueMs), nextMs }
  }

  /** Its turn is now, and its host's. False where it is that already, or its turn is not known yet: then it soon will be. */
  putForward(address: string, nowMs: number): boolean {
    const turn = this.#turns.get(address)
    if (!turn || Math.max(turn.dueMs, this.#hosts.get(turn.host)?.freeMs ?? 0) <= nowMs) return false
    turn.dueMs = nowMs
    const host = this.#hosts.get(turn.host)
    if (host) host.freeMs = Math.min(host.freeMs, nowMs)
    return true
  }

  /** Nothing was asked of the address at `atMs`, because we have no way to it. */
  postpone(address: string, atMs: number): void {
    const turn = this.#turns.get(address)
    if (turn) turn.dueMs = atMs + this.#rules.intervalMs
  }

  /** None of the host's addresses is to be probed here before `untilMs`: another tracker does. */
  leaveUntil(host: string, untilMs: number): void {
    const turns = this.#hosts.get(host)
    if (turns) turns.freeMs = Math.max(turns.freeMs, untilMs)
  }

  /** When one of the host's addresses may be probed again, Unix milliseconds. */
  freeMs(host: string): number {
    return this.#hosts.get(host)?.freeMs ?? 0
  }

  /** A probe of the address has ended. `record`: with it; `before`: without. */
  probed(record: MakerRecord, before: MakerRecord | undefined, wasUnjudged: boolean): void {
    const turn = this.#turns.get(record.address)
    if (!turn) return // no longer on the market
    const chance = this.#random()
    turn.dueMs = nextProbeMs(record, this.#rules, chance, wasUnjudged)
    this.#hosts.set(turn.host, {
      freeMs: hostFreeMs(record.lastProbeMs, this.#rules, chance, wasUnjudged),
      wasAnswering: isAnswering(before),
    })
  }

  #turnOf(address: string, record: MakerRecord | undefined, nowMs: number): Turn {
    const known = this.#turns.get(address)
    if (known) return known
    const target = parseHostPort(address)
    const turn = { host: target ? dialledHost(target) : address, dueMs: this.#firstDue(record, nowMs) }
    this.#turns.set(address, turn)
    // After a start the host was last probed when one of its addresses was.
    const freeMs =
      record && record.lastProbeMs <= nowMs ? hostFreeMs(record.lastProbeMs, this.#rules, this.#random()) : 0
    const { freeMs: before = 0, wasAnswering = false } = this.#hosts.get(turn.host) ?? {}
    this.#hosts.set(turn.host, { freeMs: Math.max(before, freeMs), wasAnswering })
    return turn
  }

  #firstDue(record: MakerRecord | undefined, nowMs: number): number {
    if (record && record.lastProbeMs > nowMs) return nowMs // the clock was set back
    return nextProbeMs(record, this.#rules, this.#random())
  }

  #forget(known: ReadonlySet<string>, nowMs: number): void {
    const hosts = new Set<string>()
    for (const [address, { host }] of this.#turns) {
      if (known.has(address)) hosts.add(host)
      else this.#turns.delete(address)
    }
    for (const [host, { freeMs }] of this.#hosts) {
      if (!hosts.has(host) && freeMs <= nowMs) this.#hosts.delete(host)
    }
  }
}

function isAnswering(record: MakerRecord | undefined): boolean {
  return record?.failures === 0 && record.lastUpMs !== undefined
}

/** Of two addresses of one host. */
function comesBefore(a: Candidate, b: Candidate, wasAnswering: boolean): boolean {
  return a.isAnswering === b.isAnswering ? a.addressDueMs < b.addressDueMs : a.isAnswering !== wasAnswering
}

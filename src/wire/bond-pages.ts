/**
 * The pages of `Bonds`: every row as at our tip, ascending by outpoint as in the digest. Rows are read and
 * encoded once for a moment, and so are pages, so that a stranger's walk costs little.
 */

import type { MakerList } from '../bonds/list.ts'
import type { AnnouncedOutput, BondState, ConfirmedBond } from '../bonds/types.ts'
import { stateOf } from '../bonds/verify.ts'
import { NO_BLOCK, type Outpoint, toInternal } from '../chain/types.ts'
import { PeerFault } from '../errors.ts'
import type { BondLiveness, BondPlace } from '../peers/liveness.ts'
import { readBonds, readPendingBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'
import type { Clock } from '../world.ts'
import { type BondFields, encodeReply, type Request } from './messages.ts'

export const LIMITS = {
  /** A row takes 370 bytes: 370 kB a page, far below what clients take as one reply. */
  limitMax: 1_000,
  limitDefault: 100,
  /** Pages kept encoded: 12 MB of the longest ones. */
  pagesKept: 32,
  /** What the mempool and the probes have changed shows after this long; a new block at once. */
  keptMs: 1_000,
}

/** A bond with its place in the order. */
interface Row {
  /** Hex of txid (internal order) and vout (big-endian): sorts as the digest does. */
  key: string
  bond: AnnouncedOutput & Partial<Pick<ConfirmedBond, 'conf' | 'confTimeS' | 'refusal'>>
  state: BondState
  value: number
  /** As told, once it has been: the wire encodes this object once. */
  fields?: BondFields
}

export interface BondPagesDeps {
  db: Db
  clock: Clock
  /** Called for every bond of a page: to be answered from memory. */
  livenessOf: (bond: BondPlace) => BondLiveness
}

export class BondPages {
  readonly #deps: BondPagesDeps
  #list: MakerList | undefined
  #madeAtMs = 0
  /** Live ones, and all. */
  readonly #rows = new Map<boolean, Row[]>()
  readonly #pages = new Map<string, Buffer>()

  constructor(deps: BondPagesDeps) {
    this.#deps = deps
  }

  /** The encoded reply. `list` is the one at our tip, the same object until rows change. Throws PeerFault. */
  page(list: MakerList, request: Omit<Extract<Request, { type: 'Bonds' }>, 'type'>): Buffer {
    const { after, limit = LIMITS.limitDefault, minValue = 0, all = false } = request
    if (limit < 1 || limit > LIMITS.limitMax) {
      throw new PeerFault('bad_request', `Bonds.limit: expected 1 to ${LIMITS.limitMax}, got ${limit}`)
    }
    this.#forgetOld(list)
    const afterKey = after ? keyOf(after) : ''
    const name = `${all} ${minValue} ${limit} ${afterKey}`
    const kept = this.#pages.get(name)
    if (kept) return kept

    const rows = this.#rowsOf(list, all).filter(({ value }) => value >= minValue)
    const from = after ? rows.findIndex(({ key }) => key > afterKey) : 0
    const page = from < 0 ? [] : rows.slice(from, from + limit)
    const hasMore = page.length > 0 && page.at(-1) !== rows.at(-1)
    const encoded = encodeReply({
      type: 'Bonds',
      height: list.tip.height,
      blockHash: list.tip.hash,
      digest: list.digest,
      total: rows.length,
      bonds: page.map((row) => {
        row.fields ??= this.#fieldsOf(row)
        return row.fields
      }),
      ...(hasMore && { next: page.at(-1)!.bond.outpoint }),
    })
    if (this.#pages.size >= LIMITS.pagesKept) this.#pages.clear()
    this.#pages.set(name, encoded)
    return encoded
  }

  #forgetOld(list: MakerList): void {
    const nowMs = this.#deps.clock.monotonicMs()
    if (list === this.#list && nowMs - this.#madeAtMs < LIMITS.keptMs) return
    this.#list = list
    this.#madeAtMs = nowMs
    this.#rows.clear()
    this.#pages.clear()
  }

  #rowsOf(list: MakerList, all: boolean): Row[] {
    let rows = this.#rows.get(all)
    if (!rows) {
      const live = list.live.map(({ bond, value }) => rowOf(bond, 'live', value))
      rows = all ? this.#allRows(list, live) : live
      this.#rows.set(all, rows)
    }
    return rows
  }

  /** Also what is not live, which is worth nothing. */
  #allRows({ tip }: MakerList, live: readonly Row[]): Row[] {
    const { db } = this.#deps
    const others = readBonds(db)
      .map((bond) => rowOf(bond, stateOf(bond, tip), 0))
      .filter(({ state }) => state !== 'live')
    const pending = readPendingBonds(db).map((bond) => rowOf(bond, 'pending', 0))
    return [...live, ...others, ...pending].sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  #fieldsOf({ bond, state, value }: Row): BondFields {
    const { outpoint, address, amountSats, conf, confTimeS, lockHeight, format, refusal } = bond
    return {
      outpoint,
      address,
      amountSats,
      confHeight: conf?.height ?? 0,
      blockHash: conf?.hash ?? NO_BLOCK,
      blockTimeS: confTimeS ?? 0,
      ...(lockHeight !== undefined && { lockHeight }),
      value,
      format,
      state,
      ...(refusal !== undefined && { refusal }),
      ...this.#deps.livenessOf(bond),
    }
  }
}

function rowOf(bond: Row['bond'], state: BondState, value: number): Row {
  return { key: keyOf(bond.outpoint), bond, state, value }
}

function keyOf({ txid, vout }: Outpoint): string {
  return toInternal(txid).toString('hex') + vout.toString(16).padStart(8, '0')
}

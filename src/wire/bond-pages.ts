/**
 * The pages of `Bonds`: every row as at our tip, ascending by outpoint as in the digest. Rows are made and encoded once
 * for a moment, and so are pages, so that a stranger's walk costs little.
 */
import { type Outpoint, toInternal } from '../chain/types.ts'
import type { Core } from '../core.ts'
import { PeerFault } from '../errors.ts'
import type { KnownBond, Market } from '../market.ts'
import { bondRow } from '../views/bonds.ts'
import { bondSchema } from '../views/schemas.ts'
import { PAGE_LIMITS } from './limits.ts'
import { type BondFields, encodeReply, type Request } from './messages.ts'
import { bondFields } from './rows.ts'

const LIMITS = {
  /** Pages kept encoded: 12 MB of the longest ones. */
  pagesKept: 32,
  /** What the mempool and the probes have changed shows after this long; a new block at once. */
  keptMs: 1_000,
}

/** A bond with its place in the order. */
interface Placed {
  /** Hex of txid (internal order) and vout (big-endian): sorts as the digest does. */
  key: string
  known: KnownBond
  /** As told, once it has been: the wire encodes this object once. None where the row can't be told. */
  fields?: readonly BondFields[]
}

export class BondPages {
  readonly #core: Pick<Core, 'market' | 'liveness' | 'clock' | 'unseen'>
  /** What the rows below are of: the same object until blocks change. */
  #atTip: Market | undefined
  #madeAtMs = 0
  /** Live ones, and all. */
  readonly #rows = new Map<boolean, Placed[]>()
  readonly #pages = new Map<string, Buffer>()
  /** Bonds whose row keeps to its schema: looked at once a tip, as it costs as much as making the row. */
  readonly #sound = new WeakSet<KnownBond>()

  constructor(core: Pick<Core, 'market' | 'liveness' | 'clock' | 'unseen'>) {
    this.#core = core
  }

  /** The encoded reply. Throws PeerFault. */
  page(request: Omit<Extract<Request, { type: 'Bonds' }>, 'type'>): Buffer {
    const { after, limit = PAGE_LIMITS.limitDefault, minValue = 0, all = false } = request
    if (limit < 1 || limit > PAGE_LIMITS.limitMax) {
      throw new PeerFault('bad_request', `Bonds.limit: expected 1 to ${PAGE_LIMITS.limitMax}, got ${limit}`)
    }
    const market = this.#core.market.read()
    if (!market) throw new PeerFault('not_synced', 'not synced: nothing scanned yet')
    this.#forgetOld()
    const afterKey = after ? keyOf(after) : ''
    const name = `${all} ${minValue} ${limit} ${afterKey}`
    const kept = this.#pages.get(name)
    if (kept) return kept

    const rows = this.#rowsOf(market, all).filter(({ known }) => known.value >= minValue)
    const from = after ? rows.findIndex(({ key }) => key > afterKey) : 0
    const page = from < 0 ? [] : rows.slice(from, from + limit)
    const hasMore = page.length > 0 && page.at(-1) !== rows.at(-1)
    const unseen = this.#core.unseen()
    const encoded = encodeReply({
      type: 'Bonds',
      height: market.tip.height,
      blockHash: market.tip.hash,
      digest: market.list.digest,
      total: rows.length,
      bonds: page.flatMap((row) => {
        row.fields ??= this.#fieldsOf(row.known, market)
        return row.fields
      }),
      ...(hasMore && { next: page.at(-1)!.known.bond.outpoint }),
      ...(unseen && { unseen }),
    })
    if (this.#pages.size >= LIMITS.pagesKept) this.#pages.clear()
    this.#pages.set(name, encoded)
    return encoded
  }

  /** None of a row that breaks its schema: it may not cost the others their page. */
  #fieldsOf(known: KnownBond, market: Market): readonly BondFields[] {
    const row = bondRow(known, market, this.#core.liveness)
    if (!this.#sound.has(known)) {
      if (!bondSchema.safeParse(row).success) return []
      this.#sound.add(known)
    }
    return [bondFields(row)]
  }

  #forgetOld(): void {
    const nowMs = this.#core.clock.monotonicMs()
    const atTip = this.#core.market.atTip()
    if (atTip === this.#atTip && nowMs - this.#madeAtMs < LIMITS.keptMs) return
    this.#atTip = atTip
    this.#madeAtMs = nowMs
    this.#rows.clear()
    this.#pages.clear()
  }

  #rowsOf({ known }: Market, all: boolean): Placed[] {
    let rows = this.#rows.get(all)
    if (!rows) {
      const wanted = all ? known : known.filter(({ state }) => state === 'live')
      rows = wanted.map((one) => ({ key: keyOf(one.bond.outpoint), known: one }))
      this.#rows.set(all, rows)
    }
    return rows
  }
}

function keyOf({ txid, vout }: Outpoint): string {
  return toInternal(txid).toString('hex') + vout.toString(16).padStart(8, '0')
}

/**
 * The pages of `Bonds`: every row as at our tip, ascending by outpoint as in the digest. Rows are made and encoded once
 * for a moment, and so are pages, so that a stranger's walk costs little.
 */
import { formatOutpoint } from '../chain/types.ts'
import type { Core } from '../core.ts'
import { PeerFault } from '../errors.ts'
import { bondsAsked, indexAfter, type KnownBond, type Market } from '../market.ts'
import { bondRow } from '../views/bonds.ts'
import { bondSchema } from '../views/schemas/bonds.ts'
import { PAGE_LIMITS } from './limits.ts'
import { type BondFields, encodeAhead, encodeReply, type Request } from './messages.ts'
import { bondFields } from './rows.ts'
import { type Lane, WORK_LIMITS } from './work.ts'

const LIMITS = {
  /** Pages kept encoded: 12 MB of the longest ones. */
  pagesKept: 32,
  /** What the mempool and the probes have changed shows after this long; a new block at once. */
  keptMs: 1_000,
}

type PageRequest = Omit<Extract<Request, { type: 'Bonds' }>, 'type'>

export class BondPages {
  readonly #core: Pick<Core, 'market' | 'liveness' | 'config' | 'clock' | 'unseen'>
  /** What the rows below are of: the same object until blocks change. */
  #atTip: Market | undefined
  #market: Market | undefined
  #madeAtMs = 0
  /** As told, once it has been: the wire encodes an object once. None where the row can't be told. */
  #fields = new WeakMap<KnownBond, readonly BondFields[]>()
  readonly #pages = new Map<string, Buffer>()
  /** Bonds whose row keeps to its schema: looked at once a tip, as it costs as much as making the row. */
  readonly #sound = new WeakSet<KnownBond>()

  constructor(core: Pick<Core, 'market' | 'liveness' | 'config' | 'clock' | 'unseen'>) {
    this.#core = core
  }

  /** The encoded reply, whose rows are made in pieces. Throws PeerFault. */
  async page(request: PageRequest, lane: Pick<Lane, 'piece'>): Promise<Buffer> {
    const { after, limit = PAGE_LIMITS.limitDefault, minValue = 0, all = false } = request
    if (limit < 1 || limit > PAGE_LIMITS.limitMax) {
      throw new PeerFault('bad_request', `Bonds.limit: expected 1 to ${PAGE_LIMITS.limitMax}, got ${limit}`)
    }
    const market = this.#current()
    if (!market) throw new PeerFault('not_synced', 'not synced: nothing scanned yet')
    const name = `${all} ${minValue} ${limit} ${after ? formatOutpoint(after) : ''}`
    const kept = this.#pages.get(name)
    if (kept) return kept

    const bonds = bondsAsked(market, { all, minValue })
    const from = after ? indexAfter(bonds, after) : 0
    const page = bonds.slice(from, from + limit)
    const rows: BondFields[] = []
    for (let at = 0; at < page.length; at += WORK_LIMITS.pieceOutpoints) {
      const some = page.slice(at, at + WORK_LIMITS.pieceOutpoints)
      rows.push(...(await lane.piece(() => some.flatMap((known) => this.#fieldsOf(known, market)))))
    }
    const hasMore = page.length > 0 && from + limit < bonds.length
    const unseen = this.#core.unseen()
    const encoded = encodeReply({
      type: 'Bonds',
      height: market.tip.height,
      blockHash: market.tip.hash,
      digest: market.list.digest,
      total: bonds.length,
      bonds: rows,
      ...(hasMore && { next: page.at(-1)!.bond.outpoint }),
      ...(unseen && { unseen }),
    })
    if (market !== this.#market) return encoded // a block came meanwhile: true at its block, and not kept
    if (this.#pages.size >= LIMITS.pagesKept) this.#pages.clear()
    this.#pages.set(name, encoded)
    return encoded
  }

  #fieldsOf(known: KnownBond, market: Market): readonly BondFields[] {
    let fields = this.#fields.get(known)
    if (!fields) {
      fields = this.#rowOf(known, market)
      this.#fields.set(known, fields)
    }
    return fields
  }

  /** None of a row that breaks its schema: it may not cost the others their page. */
  #rowOf(known: KnownBond, market: Market): readonly BondFields[] {
    const row = bondRow(known, market, this.#core)
    if (!this.#sound.has(known)) {
      if (!bondSchema.safeParse(row).success) return []
      this.#sound.add(known)
    }
    return [encodeAhead(bondFields(row))]
  }

  /** The market that pages are made of now: for a second the same, whatever the mempool does. */
  #current(): Market | undefined {
    const { clock, market } = this.#core
    const nowMs = clock.monotonicMs()
    const atTip = market.atTip()
    if (this.#market && atTip === this.#atTip && nowMs - this.#madeAtMs < LIMITS.keptMs) return this.#market
    this.#atTip = atTip
    this.#market = market.read()
    this.#madeAtMs = nowMs
    this.#fields = new WeakMap()
    this.#pages.clear()
    return this.#market
  }
}

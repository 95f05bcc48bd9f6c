/** Walks the pages of a tracker's `Bonds` to one whole list, all of one block. Trusts nothing the pages say. */
import { compareOutpoints } from '../bonds/digest.ts'
import { formatOutpoint, type Outpoint } from '../chain/types.ts'
import { TransientError } from '../errors.ts'
import { PAGE_LIMITS } from './limits.ts'
import type { BondFields, Reply, Request } from './messages.ts'

export const WALK_LIMITS = {
  /** All starts together: 100,000 bonds at a thousand a page. A list that goes on is not meant for us. */
  pagesMax: 100,
  /** A walk takes seconds, a block ten minutes: this often in a row only a tracker that mocks us has another block. */
  startsMax: 5,
  /** A page of 1,000 rows of ours takes 370 kB. */
  pageBytesMax: 1_048_576,
  /** Of a text in a row that is kept: enough to see what it is. An onion name and its port have 68, a refusal 14. */
  textCharsMax: 256,
  /** Of what is told against a row by code; we know thirteen. */
  refusalsMax: 32,
}

/** One request, one reply, on one connection; bounds the time it takes and, by `bytesMax`, what the reply may hold. */
export type AskTracker = (request: Request, bytesMax?: number) => Promise<Reply>

/** Gets the rows in their order. Returns false when it has seen enough: then the walk ends. */
export type TakeRow = (row: BondFields) => boolean

export interface Walk {
  all?: boolean
  minValue?: number
  /** Rows asked for at once. */
  limit?: number
  pageBytesMax?: number
  pagesMax?: number
}

type Page = Extract<Reply, { type: 'Bonds' }>
/** What the pages had in common. */
export type WalkedList = Omit<Page, 'bonds' | 'next'>
type ErrorReply = Extract<Reply, { type: 'Error' }>

/**
 * Hands every row to what `begin` gives, or returns the tracker's `Error`. A page of another block begins the walk anew,
 * and calls `begin` again. Nothing of a page is kept here. Throws TransientError when the pages contradict each other or
 * never end.
 */
export async function walkRows(
  ask: AskTracker,
  begin: () => TakeRow,
  walk: Walk = {},
): Promise<WalkedList | ErrorReply> {
  const { limit = PAGE_LIMITS.limitMax, all, minValue } = walk
  const { pageBytesMax = WALK_LIMITS.pageBytesMax, pagesMax = WALK_LIMITS.pagesMax } = walk
  const filter = { limit, ...(all !== undefined && { all }), ...(minValue !== undefined && { minValue }) }
  let pages = 0
  for (let starts = 1; starts <= WALK_LIMITS.startsMax; starts++) {
    const take = begin()
    let list: WalkedList | undefined
    let after: Outpoint | undefined
    for (;;) {
      if (++pages > pagesMax) throw new TransientError(`the list has not ended after ${pagesMax} pages`)
      const page = await ask({ type: 'Bonds', ...filter, ...(after && { after }) }, pageBytesMax)
      if (page.type === 'Error') return page
      if (page.type !== 'Bonds') throw new TransientError(`the tracker answered Bonds with ${page.type}`)
      const { bonds, next, ...head } = page
      list ??= head
      if (!isSameBlock(list, head)) break
      if (bonds.length > limit) throw new TransientError(`a page of ${bonds.length}, asked for ${limit}`)
      for (const row of bonds) {
        if (after && compareOutpoints(after, row.outpoint) >= 0) {
          throw new TransientError(`the pages are out of order at ${formatOutpoint(row.outpoint)}`)
        }
        after = row.outpoint
        if (!take(row)) return list
      }
      if (!next) return list
      if (bonds.length === 0 || compareOutpoints(next, after!) !== 0) {
        throw new TransientError(`the next page after ${formatOutpoint(next)} is not where this one ends`)
      }
    }
  }
  throw new TransientError(`the tracker was at another block on each of ${WALK_LIMITS.startsMax} walks`)
}

/** As `walkRows`, with all rows, texts in them no longer than a bond's can be: one `Bonds` without `next`. */
export async function walkBonds(ask: AskTracker, walk: Walk = {}): Promise<Page | ErrorReply> {
  let bonds: BondFields[] = []
  const begin = (): TakeRow => {
    bonds = []
    return (row) => bonds.push(shortened(row)) > 0
  }
  const list = await walkRows(ask, begin, walk)
  return list.type === 'Error' ? list : { ...list, bonds }
}

/** The row itself but for one that is made to fill memory. */
function shortened(row: BondFields): BondFields {
  const { address, refusal, todayRefusals } = row
  const { textCharsMax, refusalsMax } = WALK_LIMITS
  const texts = [address, refusal ?? '', ...(todayRefusals ?? [])]
  if (texts.length <= refusalsMax + 2 && texts.every(({ length }) => length <= textCharsMax)) return row
  // A slice alone would hold on to the whole text.
  const cut = (text: string) => Buffer.from(text.slice(0, textCharsMax)).toString()
  return {
    ...row,
    address: cut(address),
    ...(refusal !== undefined && { refusal: cut(refusal) }),
    ...(todayRefusals && { todayRefusals: todayRefusals.slice(0, refusalsMax).map(cut) }),
  }
}

function isSameBlock(a: WalkedList, b: WalkedList): boolean {
  return a.blockHash === b.blockHash && a.height === b.height && Buffer.compare(a.digest, b.digest) === 0
}

/** Walks the pages of a tracker's `Bonds` to one whole list, all of one block. Trusts nothing the pages say. */
import { compareOutpoints } from '../bonds/digest.ts'
import { formatOutpoint, type Outpoint } from '../chain/types.ts'
import { TransientError } from '../errors.ts'
import { PAGE_LIMITS } from './limits.ts'
import type { BondFields, Reply, Request } from './messages.ts'

export const WALK_LIMITS = {
  /** 100,000 bonds; a list that goes on is not meant for us. */
  pagesMax: 100,
  /** A walk takes seconds, a block ten minutes: this often in a row only a tracker that mocks us has another block. */
  startsMax: 5,
}

/** One request, one reply, on one connection; bounds what a reply may hold. */
export type AskTracker = (request: Request) => Promise<Reply>

export interface BondFilter {
  all?: boolean
  minValue?: number
}

type Page = Extract<Reply, { type: 'Bonds' }>

/**
 * One `Bonds` with all rows and no `next`, or the tracker's `Error`. A page of another block begins the walk anew.
 * Throws TransientError when the pages contradict each other or never end.
 */
export async function walkBonds(
  ask: AskTracker,
  { all, minValue }: BondFilter = {},
  limit = PAGE_LIMITS.limitMax,
): Promise<Page | Extract<Reply, { type: 'Error' }>> {
  const filter = { limit, ...(all !== undefined && { all }), ...(minValue !== undefined && { minValue }) }
  for (let starts = 1; starts <= WALK_LIMITS.startsMax; starts++) {
    const bonds: BondFields[] = []
    let first: Page | undefined
    let after: Outpoint | undefined
    for (let pages = 1; ; pages++) {
      if (pages > WALK_LIMITS.pagesMax)
        throw new TransientError(`the list has not ended after ${WALK_LIMITS.pagesMax} pages`)
      const page = await ask({ type: 'Bonds', ...filter, ...(after && { after }) })
      if (page.type === 'Error') return page
      if (page.type !== 'Bonds') throw new TransientError(`the tracker answered Bonds with ${page.type}`)
      first ??= page
      if (!isSameBlock(first, page)) break
      if (page.bonds.length > limit) throw new TransientError(`a page of ${page.bonds.length}, asked for ${limit}`)
      for (const bond of page.bonds) {
        if (after && compareOutpoints(after, bond.outpoint) >= 0) {
          throw new TransientError(`the pages are out of order at ${formatOutpoint(bond.outpoint)}`)
        }
        after = bond.outpoint
        bonds.push(bond)
      }
      if (!page.next) {
        const { next: _, ...rest } = page
        return { ...rest, bonds }
      }
      if (page.bonds.length === 0 || compareOutpoints(page.next, after!) !== 0) {
        throw new TransientError(`the next page after ${formatOutpoint(page.next)} is not where this one ends`)
      }
    }
  }
  throw new TransientError(`the tracker was at another block on each of ${WALK_LIMITS.startsMax} walks`)
}

function isSameBlock(a: Page, b: Page): boolean {
  return a.blockHash === b.blockHash && a.height === b.height && Buffer.compare(a.digest, b.digest) === 0
}

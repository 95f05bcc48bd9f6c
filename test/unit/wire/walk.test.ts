/** The client's walk over pages of bonds: whole lists of one block, and trackers whose pages are not to be believed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asBlockHash, asTxid, type Outpoint } from '../../../src/chain/types.ts'
import { TransientError } from '../../../src/errors.ts'
import type { BondFields, Reply, Request } from '../../../src/wire/messages.ts'
import { WALK_LIMITS, walkBonds, walkRows } from '../../../src/wire/walk.ts'

type Page = Extract<Reply, { type: 'Bonds' }>
type Asked = Extract<Request, { type: 'Bonds' }>

const outpoint = (i: number): Outpoint => ({ txid: asTxid('00'.repeat(32)), vout: i })
const hashOf = (height: number) => asBlockHash(height.toString(16).padStart(64, '0'))

function aBond(i: number): BondFields {
  return {
    outpoint: outpoint(i),
    address: `127.0.0.1:${i + 1}`,
    amountSats: 50_000,
    confHeight: 1,
    blockHash: hashOf(1),
    blockTimeS: 1,
    value: i,
    format: 'A',
    state: 'live',
    proven: false,
    reach: 'unknown',
    probes: 0,
  }
}

/** What an honest tracker with `count` bonds answers at a block. */
function pageOf(count: number, { after, limit = 100 }: Asked, height = 5): Page {
  const from = after ? after.vout + 1 : 0
  const bonds = Array.from({ length: Math.max(0, Math.min(limit, count - from)) }, (_, i) => aBond(from + i))
  const end = from + bonds.length
  const page: Page = { type: 'Bonds', height, blockHash: hashOf(height), digest: Buffer.alloc(32), total: count, bonds }
  return end < count ? { ...page, next: outpoint(end - 1) } : page
}

function asked(request: Request): Asked {
  assert(request.type === 'Bonds')
  return request
}

test('every list is walked to its end with every size of page', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(60), fc.integer({ min: 1, max: 61 }), async (count, limit) => {
      let pages = 0
      const list = await walkBonds(
        async (request) => {
          pages++
          return pageOf(count, asked(request))
        },
        { limit },
      )
      assert(list.type === 'Bonds')
      assert.deepEqual(
        list.bonds,
        Array.from({ length: count }, (_, i) => aBond(i)),
      )
      assert.equal(list.next, undefined)
      assert.equal(pages, Math.max(1, Math.ceil(count / limit)))
    }),
  )
})

test('what is asked for is asked on every page', async () => {
  const requests: Asked[] = []
  await walkBonds(
    async (request) => {
      requests.push(asked(request))
      return pageOf(3, asked(request))
    },
    { all: true, minValue: 7, limit: 2 },
  )
  const same = { type: 'Bonds', all: true, minValue: 7, limit: 2 }
  assert.deepEqual(requests, [same, { ...same, after: outpoint(1) }])
})

test('a page of another block begins the walk anew, a bounded number of times', async () => {
  let pages = 0
  const list = await walkBonds(async (request) => pageOf(4, asked(request), ++pages < 3 ? pages : 9), { limit: 2 })
  assert(list.type === 'Bonds')
  assert.deepEqual([list.height, list.bonds.length, pages], [9, 4, 4])

  pages = 0
  await assert.rejects(
    walkBonds(async (request) => pageOf(4, asked(request), ++pages), { limit: 2 }),
    /another block on each of 5 walks/,
  )
  assert.equal(pages, 2 * WALK_LIMITS.startsMax)
})

test('an Error is handed on', async () => {
  const error: Reply = { type: 'Error', code: 'not_synced', message: 'at 5 of 9' }
  assert.deepEqual(await walkBonds(async () => error), error)
})

test('pages that contradict each other, repeat or never end are no list', async () => {
  const lies: [string, (request: Asked, pages: number) => Reply, RegExp][] = [
    ['out of order', (request) => ({ ...pageOf(2, request), bonds: [aBond(1), aBond(0)] }), /out of order/],
    ['the first page again', () => pageOf(4, { type: 'Bonds', limit: 2 }), /out of order/],
    ['more than asked for', (request) => pageOf(4, { ...request, limit: 3 }), /a page of 3, asked for 2/],
    ['nothing, and more', (request) => ({ ...pageOf(0, request), next: outpoint(0) }), /not where this one ends/],
    ['a jump', (request) => ({ ...pageOf(4, request), next: outpoint(3) }), /not where this one ends/],
    ['no end', (request) => pageOf(1_000_000, request), /has not ended after 100 pages/],
    ['another reply', () => ({ type: 'Address', addresses: [] }), /answered Bonds with Address/],
  ]
  for (const [what, answer, message] of lies) {
    let pages = 0
    await assert.rejects(
      walkBonds(async (request) => answer(asked(request), ++pages), { limit: 2 }),
      (error) => error instanceof TransientError && message.test(error.message),
      what,
    )
    assert(pages <= WALK_LIMITS.pagesMax)
  }
})

test('pages are counted over all starts: a tracker that is at another block again and again gains none by it', async () => {
  let pages = 0
  await assert.rejects(
    walkBonds(async (request) => pageOf(1_000_000, asked(request), 1 + Math.floor(++pages / 40)), { limit: 1 }),
    /has not ended after 100 pages/,
  )
  assert.equal(pages, WALK_LIMITS.pagesMax)
})

test('a text that is made to fill memory is kept in part, and the page that brings it is bounded', async () => {
  const long = 'x'.repeat(100_000)
  const bytesMax: (number | undefined)[] = []
  const list = await walkBonds(async (request, bytes) => {
    bytesMax.push(bytes)
    const page = pageOf(3, asked(request))
    const texts = { address: long, refusal: long, today: false, todayRefusals: Array(1_000).fill(long) }
    return { ...page, bonds: page.bonds.map((bond) => ({ ...bond, ...texts })) }
  })
  assert(list.type === 'Bonds')
  for (const { address, refusal, todayRefusals } of list.bonds) {
    assert.deepEqual([address.length, refusal!.length], [WALK_LIMITS.textCharsMax, WALK_LIMITS.textCharsMax])
    assert.equal(todayRefusals!.length, WALK_LIMITS.refusalsMax)
    assert.ok(todayRefusals!.every(({ length }) => length === WALK_LIMITS.textCharsMax))
  }
  assert.deepEqual(bytesMax, [WALK_LIMITS.pageBytesMax])
})

test('whoever has seen enough ends the walk, and a new start begins with new eyes', async () => {
  const seen: number[][] = []
  let pages = 0
  const list = await walkRows(
    async (request) => pageOf(100, asked(request), ++pages === 2 ? 6 : 5),
    () => {
      const rows: number[] = []
      seen.push(rows)
      return ({ outpoint }) => rows.push(outpoint.vout) < 15
    },
    { limit: 10 },
  )
  assert(list.type === 'Bonds')
  assert.equal(pages, 4)
  assert.deepEqual(
    seen.map((rows) => rows.length),
    [10, 15],
  )
})

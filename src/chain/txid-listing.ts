/**
 * Takes the list of txids out of a reply of `getrawmempool false true`: in its place the reply has their number. So a
 * mempool of 300,000 never becomes as many strings, what holds up others is a piece of the list at the most, and what is
 * left of the reply is judged as any other. Knows of JSON only this list. Source: Bitcoin Core's rpc/mempool.cpp.
 */
import { breathe } from '../world.ts'

const LIMITS = {
  /** The list begins within these: before it are an id and the names around it. A reply without one is left as it is. */
  headBytes: 1_000,
  /** Txids taken in one piece: a millisecond or two. */
  piece: 4_000,
}

const LIST_BEGINS = /"txids"[ \t\r\n]*:[ \t\r\n]*\[/

const QUOTE = 0x22
const COMMA = 0x2c
const LIST_ENDS = 0x5d
const WHITE_SPACE = [0x20, 0x09, 0x0a, 0x0d]
const TXID_CHARS = 64

/** Takes the txid whose 64 characters begin at `at`; false when they are none. */
export type TakeTxid = (text: Buffer, at: number) => boolean

/** The reply with the number of its txids where their list was. Throws when that is a list of anything else. */
export async function cutTxids(reply: Buffer, take: TakeTxid): Promise<Buffer> {
  const begins = LIST_BEGINS.exec(reply.toString('latin1', 0, LIMITS.headBytes))
  if (!begins) return reply
  const listAt = begins.index + begins[0].length
  let count = 0
  let at = afterSpace(reply, listAt)
  while (reply[at] !== LIST_ENDS || count > 0) {
    const end = at + 1 + TXID_CHARS
    if (reply[at] !== QUOTE || reply[end] !== QUOTE || !take(reply, at + 1)) throw noList(count)
    count++
    at = afterSpace(reply, end + 1)
    if (reply[at] === LIST_ENDS) break
    if (reply[at] !== COMMA) throw noList(count)
    at = afterSpace(reply, at + 1)
    if (count % LIMITS.piece === 0) await breathe()
  }
  // Between spaces: what follows can't make another number of it.
  return Buffer.concat([reply.subarray(0, listAt - 1), Buffer.from(` ${count} `), reply.subarray(at + 1)])
}

/** Of the first byte from `from` on that is no white space. */
function afterSpace(reply: Buffer, from: number): number {
  let at = from
  while (WHITE_SPACE.includes(reply[at]!)) at++
  return at
}

function noList(count: number): Error {
  return new Error(`its list of transactions is none after ${count} of them`)
}

/** The list of txids taken out of a reply: what is left is the reply, and no other list passes for one of txids. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { OutpointKeys } from '../../../src/chain/outpoint-keys.ts'
import { cutTxids } from '../../../src/chain/txid-listing.ts'
import { TxidKey } from '../../../src/chain/txid-set.ts'

const key = new TxidKey(new OutpointKeys(Buffer.alloc(16)))
const txids = (count: number) =>
  Array.from({ length: count }, (_, i) => createHash('sha256').update(String(i)).digest('hex'))

async function cut(text: string): Promise<{ left: string; taken: string[] }> {
  const taken: string[] = []
  const left = await cutTxids(Buffer.from(text), (bytes, at) => {
    if (!key.read(bytes, at)) return false
    taken.push(bytes.toString('latin1', at, at + 64))
    return true
  })
  return { left: left.toString(), taken }
}

test('of a list of any length its number is left, and all around it as it was', async () => {
  for (const count of [0, 1, 2, 4_000, 4_001, 9_000]) {
    const result = { txids: txids(count), mempool_sequence: 7 }
    const { left, taken } = await cut(JSON.stringify({ result, error: null, id: 'txids' }))
    assert.deepEqual(JSON.parse(left), { result: { txids: count, mempool_sequence: 7 }, error: null, id: 'txids' })
    assert.deepEqual(taken, result.txids)
  }
})

test('white space and the order of names are as JSON has them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(5), fc.constantFrom(0, 1, 4, '\t', '\r\n'), fc.boolean(), async (count, space, isLast) => {
      const list = { txids: txids(count) }
      const result = isLast ? { mempool_sequence: 7, ...list } : { ...list, mempool_sequence: 7 }
      const { left, taken } = await cut(JSON.stringify({ id: 1, result, error: null }, null, space))
      assert.deepEqual(JSON.parse(left), { id: 1, result: { ...result, txids: count }, error: null })
      assert.deepEqual(taken, list.txids)
    }),
  )
})

test('a reply without a list is left as it is', async () => {
  const replies = [
    '',
    '{"result":null,"error":{"code":-28,"message":"Loading \\"txids\\":[\\"…"},"id":1}',
    '{"result":{"txids":{},"mempool_sequence":1},"error":null,"id":1}',
    `{"id":"${'x'.repeat(2_000)}","result":{"txids":[],"mempool_sequence":1}}`,
  ]
  for (const text of replies) assert.deepEqual(await cut(text), { left: text, taken: [] })
})

test('a list that is cut short, damaged in a byte, or of anything else is none', async () => {
  const text = JSON.stringify({ result: { txids: txids(3), mempool_sequence: 7 }, error: null, id: 1 })
  const begins = text.indexOf('[') + 1
  const ends = text.indexOf(']')
  for (let at = begins; at < ends; at++) {
    await assert.rejects(cut(text.slice(0, at)), /its list of transactions is none after/, `cut at ${at}`)
    for (const other of ['G', 'A', '\u0000', '[', '{']) {
      const damaged = text.slice(0, at) + other + text.slice(at + 1)
      await assert.rejects(cut(damaged), /is none after/, `${JSON.stringify(other)} at ${at}`)
    }
    // A list that ends too early may be one; the reply around it is none.
    await assert.rejects(async () => JSON.parse((await cut(`${text.slice(0, at)}]${text.slice(at + 1)}`)).left))
  }
  for (const after of ['0', '.5', 'e3']) {
    await assert.rejects(async () => JSON.parse((await cut(text.replace(']', `]${after}`))).left), after)
  }
  const [one] = txids(1)
  for (const list of [`"${one}",`, `,"${one}"`, `"${one}","${one}" "${one}"`, '1', 'null', `["${one}"]`, `"${one}0"`]) {
    await assert.rejects(cut(`{"result":{"txids":[${list}]}}`), /is none after/, list)
  }
})

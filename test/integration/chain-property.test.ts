/**
 * Random regtest histories (bonds of all kinds, spends, empty blocks, reorgs, restarts of the tracker), each compared at
 * its end with a brute-force scan of the whole chain over RPC, which shares no code with the index.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bondKey } from '../sandbox/bond-key.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { chainRows, Tracker } from '../sandbox/tracker.ts'
import { onionHost } from '../support/onions.ts'

type Move =
  | { kind: 'bond'; format: 'A' | 'B' | 'C' | 'D'; lockBlocks: number; amountSats: number; isPlain: boolean }
  | { kind: 'spend' }
  | { kind: 'mine'; blocks: number }
  | { kind: 'reorg'; drop: number; mine: number }
  | { kind: 'kill' }

const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('bond' as const),
      format: fc.constantFrom('A' as const, 'B' as const, 'C' as const, 'D' as const),
      lockBlocks: fc.constantFrom(0, 1, 2, 5, 15_000, 25_920, 25_921),
      amountSats: fc.constantFrom(9_999, 10_000, 123_456),
      isPlain: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'spend' as const }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('mine' as const), blocks: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('reorg' as const),
      drop: fc.integer({ min: 1, max: 6 }),
      mine: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'kill' as const }) },
)

interface VerboseTx {
  txid: string
  locktime: number
  vin: { txid?: string; vout?: number }[]
  vout: { value: number; scriptPubKey: { asm: string; type: string } }[]
}

/** The rules once more, from bitcoind's own decoding: every announcement and the spend of every one that qualified. */
async function bruteForce(node: Regtest): Promise<{ bonds: string[]; spends: string[] }> {
  const bonds: string[] = []
  const qualified = new Set<string>()
  const spends: string[] = []
  for (let height = 0; height <= (await node.height()); height++) {
    const block = await node.rpc<{ tx: VerboseTx[] }>('getblock', await node.rpc('getblockhash', height), 2)
    for (const tx of block.tx) {
      tx.vin.forEach((input, vin) => {
        const outpoint = `${input.txid}:${input.vout}`
        if (qualified.has(outpoint)) spends.push(`${outpoint} by ${tx.txid}:${vin} at ${height}`)
      })
      if (tx.locktime === 0 || tx.vout.length < 2 || tx.vout.length > 5) continue
      const texts = tx.vout.flatMap(({ scriptPubKey: { asm } }) => {
        const hex = /^OP_RETURN ([0-9a-f]{60,})$/.exec(asm)?.[1]
        return hex ? [Buffer.from(hex, 'hex').toString()] : []
      })
      const match = texts.map((text) => /^([a-z2-7]{56})(\.onion)?(?::(\d+))?(?:#(\d+))?$/.exec(text)).find(Boolean)
      if (!match) continue
      const lock = match[4] === undefined ? undefined : Number(match[4])
      const sats = Math.round(tx.vout[0]!.value * 1e8)
      const refusal =
        tx.vout[0]!.scriptPubKey.type !== 'witness_v0_scripthash'
          ? 'not-p2wsh'
          : sats < 10_000
            ? 'too-small'
            : lock === undefined
              ? null
              : lock <= height
                ? 'lock-passed'
                : lock - height > 25_920
                  ? 'lock-too-long'
                  : null
      bonds.push([`${tx.txid}:0`, `${match[1]}.onion:${match[3] ?? 21}`, sats, lock ?? null, height, refusal].join(' '))
      if (refusal === null) qualified.add(`${tx.txid}:0`)
    }
  }
  return { bonds: bonds.sort(), spends: spends.sort() }
}

function indexed(dataDir: string): { bonds: string[]; spends: string[] } {
  const rows = chainRows(dataDir) as Record<string, Record<string, unknown>[]>
  return {
    bonds: rows
      .bonds!.map((row) =>
        [`${row.txid}:${row.vout}`, row.address, row.amount_sats, row.lock_height, row.conf_height, row.refusal].join(
          ' ',
        ),
      )
      .sort(),
    spends: rows
      .spends!.map((row) => `${row.txid}:${row.vout} by ${row.spender_txid}:${row.vin} at ${row.height}`)
      .sort(),
  }
}

test('after any history the index is what a brute-force scan of the chain finds', async () => {
  await using node = await Regtest.start({ blocks: 130 })
  await using tracker = await Tracker.start(node)
  const funded: FundedBond[] = []
  const play = async (step: Move): Promise<void> => {
    switch (step.kind) {
      case 'bond': {
        const { kind: _, ...plan } = step
        const name = `maker ${funded.length}`
        const port = plan.format === 'A' || plan.format === 'B' ? 6102 : 21
        funded.push(await node.fundBond({ ...plan, key: bondKey(name), address: `${onionHost(name)}:${port}` }))
        return
      }
      case 'spend':
        // The first one bitcoind takes: confirmed or pending, its lock passed, not spent yet.
        for (const bond of funded) {
          const spent = await node.spendBond(bond).catch(() => undefined)
          if (spent) return
        }
        return
      case 'mine':
        await node.mine(step.blocks)
        return
      case 'reorg':
        await node.replaceTip(step)
        return
      case 'kill':
        await tracker.stop('SIGKILL')
        tracker.launch()
    }
  }
  let histories = 0
  await fc.assert(
    fc.asyncProperty(fc.array(move, { minLength: 10, maxLength: 25, size: 'max' }), async (moves) => {
      for (const step of moves) await play(step)
      await tracker.caughtUp(node)
      assert.deepEqual(indexed(tracker.dataDir), await bruteForce(node))
      histories++
    }),
    { numRuns: 12, endOnFailure: true },
  )
  assert.ok(histories >= 12 && funded.length > 30)
})

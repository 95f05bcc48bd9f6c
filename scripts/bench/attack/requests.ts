/** Attacks by requests that cost more than they look: look-ups, large transactions, lists, proofs. */
import { asTxid, type Outpoint } from '../../../src/chain/types.ts'
import { bondKey } from '../../../test/sandbox/bond-key.ts'
import type { Regtest } from '../../../test/sandbox/regtest.ts'
import { makeCoins, spend } from '../../../test/support/coins.ts'
import { onionHost } from '../../../test/support/onions.ts'
import type { Attack } from './attack.ts'
import { changing, framed, lanes, madeUp, times } from './load.ts'

const LANES = 16
const OUTPOINTS = 1_000

const unknown: Attack = {
  number: 1,
  what: `${LANES} connections, WatchMany of ${OUTPOINTS} unknown outpoints`,
  launch: ({ port }) => lanes(LANES, port, changing({ type: 'WatchMany', outpoints: madeUp(OUTPOINTS) })),
}

const vouts: Attack = {
  number: 2,
  what: `${LANES} connections, WatchMany of ${OUTPOINTS} vouts of one txid`,
  launch: ({ port }) => {
    const txid = asTxid('c4'.repeat(32))
    const frames = times(20, (k) =>
      framed({ type: 'WatchMany', outpoints: times(OUTPOINTS, (i) => ({ txid, vout: k * OUTPOINTS + i })) }),
    )
    let n = 0
    return lanes(LANES, port, () => frames[n++ % frames.length]!)
  },
}

const oneSpender: Attack = {
  number: 3,
  what: `${LANES} connections, WatchMany of ${OUTPOINTS} outpoints of one 148 kB transaction`,
  async prepare(node) {
    const funding = await spend(node, await makeCoins(node, 1, 40_000_000), { feeSats: 100_000, outputs: OUTPOINTS })
    await node.mine(1)
    const coins = funding.outputs
    await spend(node, coins, { feeSats: 200_000 })
    return coins.map(({ txid, vout }) => ({ txid, vout }))
  },
  launch({ port, data }) {
    const frame = framed({ type: 'WatchMany', outpoints: data as Outpoint[] })
    return lanes(LANES, port, () => frame, { inFlight: 2 })
  },
}

const lists: Attack = {
  number: 11,
  what: `${LANES} connections, BondProof, Why and Bonds of all in a loop`,
  prepare: (node) => realBonds(node, 6),
  launch({ port, data }) {
    const bonds = data as Outpoint[]
    const frames = [
      ...bonds.map((outpoint) => framed({ type: 'BondProof', outpoint })),
      framed({ type: 'BondProof', outpoint: madeUp(1)[0]! }),
      ...bonds.map((_, i) => framed({ type: 'Why', address: `${onionHost(`listed ${i}`)}:21` })),
      framed({ type: 'Why', address: `${onionHost('nobody')}:21` }),
      framed({ type: 'Bonds', all: true, limit: 1_000 }),
      framed({ type: 'Bonds', all: true, limit: 1_000, minValue: 1 }),
    ]
    let n = 0
    return lanes(LANES, port, () => frames[n++ % frames.length]!)
  },
}

const manyLanes: Attack = {
  number: 18,
  what: '1,300 connections, each with one small WatchMany waiting',
  launch: ({ port }) =>
    lanes(1_300, port, changing({ type: 'WatchMany', outpoints: madeUp(5) }), { inFlight: 1, againMs: 500 }),
}

export const REQUEST_ATTACKS = [unknown, vouts, oneSpender, lists, manyLanes]

async function realBonds(node: Regtest, n: number): Promise<Outpoint[]> {
  const bonds: Outpoint[] = []
  for (let i = 0; i < n; i++) {
    const plan = { key: bondKey(`listed ${i}`), format: 'D' as const, address: `${onionHost(`listed ${i}`)}:21` }
    bonds.push((await node.fundBond(plan)).outpoint)
  }
  await node.mine(1)
  return bonds
}

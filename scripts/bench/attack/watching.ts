/** Attacks with what is kept for a client: subscriptions before reorgs and large transactions, and registrations. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Outpoint } from '../../../src/chain/types.ts'
import { makeCoins, sign } from '../../../test/support/coins.ts'
import type { Attack } from './attack.ts'
import { changing, count, framed, hold, lane, lanes, madeUp, times } from './load.ts'

const PER_CONNECTION = 1_000

/** Connections with so many subscriptions each, which are asked for again when a connection is lost. */
async function subscribe(port: number, each: readonly (readonly Outpoint[])[]): Promise<void> {
  let replies = 0
  let next = 0
  const frames = each.map((outpoints) => framed({ type: 'Subscribe', outpoints: [...outpoints] }))
  await hold(frames.length, port, (socket) => {
    socket.write(frames[next++ % frames.length]!)
    socket.once('data', () => replies++)
    socket.on('data', (chunk) => count('bytes', chunk.length))
  })
  const endMs = performance.now() + 20_000
  while (replies < frames.length && performance.now() < endMs) await pause(50)
}

const reorgs: Attack = {
  number: 4,
  what: '20,000 subscriptions, a reorg of 1 and of 6 blocks',
  isReorg: true,
  launch: ({ port }) =>
    subscribe(
      port,
      times(20, () => madeUp(PER_CONNECTION)),
    ),
  async meanwhile({ node }, forMs) {
    await pause(forMs / 10)
    await node.replaceTip({ drop: 1, mine: 2 })
    await pause(forMs / 3)
    await node.replaceTip({ drop: 6, mine: 7 })
    return []
  },
}

const OUTPUTS = 3_000

const manyOutputs: Attack = {
  number: 17,
  what: `strangers subscribed to the ${OUTPUTS.toLocaleString('en')} outputs of one transaction, which is broadcast, then mined`,
  async prepare(node) {
    const coins = await makeCoins(node, 1, 200_000_000)
    await node.rpc(
      'lockunspent',
      false,
      coins.map(({ txid, vout }) => ({ txid, vout })),
    )
    const parent = await sign(node, coins, { feeSats: 200_000, outputs: OUTPUTS })
    return { hex: parent.hex, outputs: parent.outputs.map(({ txid, vout }) => ({ txid, vout })) }
  },
  launch({ port, data }) {
    const outputs = data.outputs as Outpoint[]
    const each = times(OUTPUTS / PER_CONNECTION, (i) => outputs.slice(i * PER_CONNECTION, (i + 1) * PER_CONNECTION))
    return subscribe(port, each)
  },
  async meanwhile({ node, data }, forMs) {
    await pause(forMs / 10)
    await node.rpc('sendrawtransaction', (data as { hex: string }).hex)
    await pause(forMs / 3)
    await node.mine(1)
    return []
  },
}

const CAP = 10_000

const toTheCap: Attack = {
  number: 7,
  what: `registrations to the cap (${CAP.toLocaleString('en')}) from 100 connections`,
  flags: ['--watches-max', String(CAP)],
  launch({ port }) {
    const next = changing({ type: 'Register', outpoints: madeUp(100), ttlBlocks: 52_560 })
    return lanes(100, port, next, { inFlight: 1 })
  },
}

const again: Attack = {
  number: 8,
  what: '5 connections register the same 1,000 outpoints again and again, for longer each time',
  async launch({ port }) {
    const outpoints = madeUp(1_000)
    let ttlBlocks = 1
    await Promise.all(
      times(5, () =>
        lane(port, () => framed({ type: 'Register', outpoints, ttlBlocks: ttlBlocks++ }), { inFlight: 2 }),
      ),
    )
  },
}

export const WATCHING_ATTACKS = [reorgs, manyOutputs, toTheCap, again]

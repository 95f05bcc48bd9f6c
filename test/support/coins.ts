/** A wallet's coins one by one: made, spent, replaced, without the wallet choosing anything. */

import { txidOf } from '../../src/chain/decode.ts'
import type { Outpoint, Txid } from '../../src/chain/types.ts'
import type { Regtest } from '../sandbox/regtest.ts'

export interface Coin extends Outpoint {
  sats: number
}

/** A signed transaction, not yet sent; its outputs are coins of the same wallet. */
export interface Signed {
  txid: Txid
  hex: string
  outputs: Coin[]
}

/** `count` confirmed coins of `sats` each. */
export async function makeCoins(node: Regtest, count: number, sats = 100_000): Promise<Coin[]> {
  const coins: Coin[] = []
  while (coins.length < count) {
    const outputs: Record<string, string>[] = []
    for (let i = coins.length; i < count && outputs.length < 500; i++) {
      outputs.push({ [await node.newAddress()]: btc(sats) })
    }
    const { txid } = await node.pay(outputs, { satsPerVbyte: 2 })
    for (const vout of outputs.keys()) coins.push({ txid, vout, sats })
  }
  await node.mine(1)
  return coins
}

/** Signs a transaction that spends `inputs` to `outputs` new coins of equal size. It signals replaceability. */
export async function sign(
  node: Regtest,
  inputs: readonly Coin[],
  { feeSats = 1_000, outputs = 1 } = {},
): Promise<Signed> {
  const each = Math.floor((inputs.reduce((sum, { sats }) => sum + sats, 0) - feeSats) / outputs)
  const payees: Record<string, string>[] = []
  for (let i = 0; i < outputs; i++) payees.push({ [await node.newAddress()]: btc(each) })
  const ins = inputs.map(({ txid, vout }) => ({ txid, vout, sequence: 0xfffffffd }))
  const raw = await node.rpc<string>('createrawtransaction', ins, payees)
  const { hex, complete } = await node.rpc<{ hex: string; complete: boolean }>('signrawtransactionwithwallet', raw)
  if (!complete) throw new Error(`the wallet can't sign for ${JSON.stringify(ins)}`)
  const txid = txidOf(Buffer.from(hex, 'hex'))
  return { txid, hex, outputs: payees.map((_, vout) => ({ txid, vout, sats: each })) }
}

export async function send(node: Regtest, { hex }: Signed): Promise<void> {
  await node.rpc('sendrawtransaction', hex)
}

/** Signs and sends. */
export async function spend(
  node: Regtest,
  inputs: readonly Coin[],
  options?: { feeSats?: number; outputs?: number },
): Promise<Signed> {
  const signed = await sign(node, inputs, options)
  await send(node, signed)
  return signed
}

function btc(sats: number): string {
  return (sats / 1e8).toFixed(8)
}

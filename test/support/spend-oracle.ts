import { formatOutpoint, type Outpoint } from '../../src/chain/types.ts'
import type { Regtest } from '../sandbox/regtest.ts'

/** bitcoind refuses a vout above this; no transaction has so many outputs either. */
const VOUT_MAX = 2 ** 31 - 1

export interface Truth {
  state: string
  txid?: string
  blockHash?: string
}

/** What bitcoind says, by looking at every block of its best chain and asking for every output. */
export class SpendOracle {
  readonly #node: Regtest
  readonly #spendsOf = new Map<string, Map<string, string>>()

  constructor(node: Regtest) {
    this.#node = node
  }

  async of(outpoints: readonly Outpoint[]): Promise<Map<string, Truth>> {
    const confirmed = new Map<string, { txid: string; blockHash: string }>()
    for (let hash: string | undefined = await this.#node.tipHash(); hash !== undefined; ) {
      const spends = await this.#spendsIn(hash)
      for (const [outpoint, txid] of spends.spends) confirmed.set(outpoint, { txid, blockHash: hash })
      hash = spends.previous
    }
    const inMempool = await this.#node.rpc<{ spendingtxid?: string }[]>(
      'gettxspendingprevout',
      outpoints.map(({ txid, vout }) => ({ txid, vout: Math.min(vout, VOUT_MAX) })),
    )
    const answers = new Map<string, Truth>()
    for (const [i, outpoint] of outpoints.entries()) {
      const name = formatOutpoint(outpoint)
      const spend = confirmed.get(name)
      const spender = inMempool[i]!.spendingtxid
      if (spend) answers.set(name, { state: 'confirmed', ...spend })
      else if (spender !== undefined) answers.set(name, { state: 'mempool', txid: spender })
      else {
        const output = await this.#node.rpc('gettxout', outpoint.txid, Math.min(outpoint.vout, VOUT_MAX), true)
        answers.set(name, { state: output === null ? 'unknown' : 'unspent' })
      }
    }
    return answers
  }

  readonly #previous = new Map<string, string | undefined>()
  async #spendsIn(hash: string): Promise<{ spends: Map<string, string>; previous: string | undefined }> {
    let spends = this.#spendsOf.get(hash)
    if (!spends) {
      const block = await this.#node.rpc<{
        previousblockhash?: string
        tx: { txid: string; vin: { txid?: string; vout?: number }[] }[]
      }>('getblock', hash, 2)
      spends = new Map(
        block.tx.flatMap((tx) => tx.vin.map((input) => [`${input.txid}:${input.vout}`, tx.txid] as const)),
      )
      this.#spendsOf.set(hash, spends)
      this.#previous.set(hash, block.previousblockhash)
    }
    return { spends, previous: this.#previous.get(hash) }
  }
}

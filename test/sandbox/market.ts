/** Many makers on a regtest chain, none of them answering: bonds of many sizes, eras and lock lengths. */
import { createHash } from 'node:crypto'
import { onionHostOf } from '../../src/tor/address.ts'
import { expandSeed } from '../../src/tor/key.ts'
import { bondKey } from './bond-key.ts'
import type { FundedBond, Regtest } from './regtest.ts'

/** Bonds mined together: what the sandbox wallet funds from its coins between two blocks. */
const PER_BLOCK = 12

/** Announces `count` live bonds, one maker each, over as many blocks as it takes; always the same ones. */
export async function mineMarket(node: Regtest, count: number): Promise<FundedBond[]> {
  const bonds: FundedBond[] = []
  for (let i = 0; i < count; i++) {
    const name = `market-${i}`
    const chance = createHash('sha256').update(name).digest()
    const at = (byte: number) => chance[byte]! / 255
    bonds.push(
      await node.fundBond({
        key: bondKey(name),
        format: i % 9 === 0 ? 'B' : i % 17 === 0 ? 'A' : 'D',
        address: onionAddress(name, i % 9 === 0 || i % 17 === 0 ? 6102 : 21),
        // From 20,000 sats to about 2 BTC, most of them small; from two weeks to half a year.
        amountSats: Math.round(20_000 * 10 ** (4 * at(0) ** 1.7)),
        lockBlocks: Math.round(900 + 24_500 * (0.2 * at(1) + 0.8 * at(2) ** 0.7)),
      }),
    )
    if (i % PER_BLOCK === PER_BLOCK - 1 || i === count - 1) await node.mine(1 + (chance[3]! % 4))
  }
  return bonds
}

function onionAddress(name: string, port: number): string {
  return `${onionHostOf(expandSeed(createHash('sha256').update(name).digest()).publicKey)}:${port}`
}

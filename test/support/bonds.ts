/** Bonds that no chain has: ordinary ones, with whatever the test wants to differ. */
import type { ConfirmedBond, Tip } from '../../src/bonds/types.ts'
import { asBlockHash, asSats, asTxid, type BlockHash, type Outpoint, type Txid } from '../../src/chain/types.ts'

/** A hash that is nothing but a number. */
export function hashOf(number: number): BlockHash {
  return asBlockHash(number.toString(16).padStart(64, '0'))
}

export function txidOf(number: number): Txid {
  return asTxid(hashOf(number))
}

export function tipAt(height: number, hash = hashOf(height)): Tip {
  return { height, hash, timeS: 1_700_000_000 + 600 * height }
}

type BondChange = Omit<Partial<ConfirmedBond>, 'lockHeight' | 'conf'> & {
  lockHeight?: number | undefined
  confHeight?: number
}

/** Confirmed at 100,000 and locked for 15,000 blocks, unless told otherwise. */
export function aBond({ confHeight = 100_000, ...change }: BondChange = {}): ConfirmedBond {
  const { lockHeight, ...rest } = { lockHeight: confHeight + 15_000, ...change }
  const bond: ConfirmedBond = {
    format: 'D',
    address: 'maker.onion:21',
    outpoint: { txid: txidOf(1), vout: 0 },
    amountSats: asSats(50_000),
    isP2wsh: true,
    txRefusals: [],
    conf: { height: confHeight, hash: hashOf(confHeight) },
    confTimeS: tipAt(confHeight).timeS,
    ...rest,
  }
  return lockHeight === undefined ? bond : { ...bond, lockHeight }
}

export function spentAt(height: number): NonNullable<ConfirmedBond['spentBy']> {
  return { txid: txidOf(99), vin: 0, height, blockHash: hashOf(height) }
}

export function outpointOf(number: number): Outpoint {
  return { txid: txidOf(number), vout: 0 }
}

/** What a simulated maker answers `GetOffer` with: today's offer and a fidelity proof that verifies. */
import { createHash } from 'node:crypto'
import { formatOutpoint, type Outpoint, toInternal } from '../../src/chain/types.ts'
import { type Encodable, Float } from '../../src/wire/cbor.ts'
import { type BondKey, signDer } from './bond-key.ts'

export interface OfferedBond {
  outpoint: Outpoint
  amountSats: number
  lockHeight: number
  confHeight: number
  key: BondKey
  /** Under which the maker is reached, as certificates name it: `<56>.onion`; era A and tests: with `:port`. */
  certAddress: string
}

/** The certificate's text, as makers since May 2026 write it. */
export function certificateText({ outpoint, amountSats, lockHeight, key, certAddress }: OfferedBond): string {
  return [
    'fidelity-bond-cert',
    formatOutpoint(outpoint),
    hex(key.publicKey),
    lockHeight,
    bitcoinText(amountSats),
    certAddress,
    hex(key.tweakablePoint),
  ].join('|')
}

/** The same as makers wrote it before: with an expiry in retarget periods, without a tweakable point. */
export function certificateTextOfEraA(
  bond: Omit<OfferedBond, 'key'> & { key: Pick<OfferedBond['key'], 'publicKey'> },
): string {
  return [
    'fidelity-bond-cert',
    formatOutpoint(bond.outpoint),
    hex(bond.key.publicKey),
    Math.floor((bond.confHeight + 2) / 2016) + 5,
    bond.lockHeight,
    bitcoinText(bond.amountSats),
    bond.certAddress,
  ].join('|')
}

/** As rust-bitcoin displays an amount: eight decimals, none when it is whole. */
function bitcoinText(amountSats: number): string {
  return amountSats % 1e8 === 0 ? `${amountSats / 1e8} BTC` : `${(amountSats / 1e8).toFixed(8)} BTC`
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** Double SHA-256 of the text as a Bitcoin signed message, 32 bytes in raw order. Era A agrees up to 252 bytes of text. */
export function certificateHash(text: string): Buffer {
  const length = text.length < 0xfd ? Buffer.of(text.length) : Buffer.of(0xfd, text.length & 0xff, text.length >> 8)
  const message = Buffer.concat([
    Buffer.from('\x18Bitcoin Signed Message:\n', 'latin1'),
    length,
    Buffer.from(text, 'ascii'),
  ])
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
  return sha256(sha256(message))
}

export function offerMessage(bond: OfferedBond): Encodable {
  const certHash = certificateHash(certificateText(bond))
  return {
    Offer: {
      base_fee: 500,
      amount_relative_fee_pct: new Float(0.0025),
      time_relative_fee_pct: new Float(0.0001),
      required_confirms: 1,
      minimum_locktime: 10,
      max_size: 1_000_000,
      min_size: 10_000,
      tweakable_point: bond.key.tweakablePoint,
      fidelity: {
        bond: {
          outpoint: { txid: toInternal(bond.outpoint.txid), vout: bond.outpoint.vout },
          amount: bond.amountSats,
          lock_time: bond.lockHeight,
          pubkey: bond.key.publicKey,
          conf_height: bond.confHeight,
          is_spent: false,
          bond_index: bond.key.index,
          tx: null,
        },
        cert_hash: certHash,
        cert_sig: signDer(certHash, bond.key),
      },
      tweak_chain_code: bond.key.chainCode,
    },
  }
}

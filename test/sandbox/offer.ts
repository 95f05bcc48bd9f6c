/** What a simulated maker of any release offers, with a fidelity proof that verifies, or that lies as it is told to. */
import { createHash } from 'node:crypto'
import { formatOutpoint, type Outpoint, toInternal } from '../../src/chain/types.ts'
import { type Encodable, Float } from '../../src/wire/cbor.ts'
import { type BondKey, signDer } from './bond-key.ts'
import { type LieName, lieOf } from './lies.ts'

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
    expiryOf(bond.confHeight),
    bond.lockHeight,
    bitcoinText(bond.amountSats),
    bond.certAddress,
  ].join('|')
}

function expiryOf(confHeight: number): number {
  return Math.floor((confHeight + 2) / 2016) + 5
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

/** Whose offer it is: each release lays it out in its own way. 0.1.2 writes what 0.1.3 does. */
export type Release = '0.1.2' | '0.1.3' | '0.1.3-taproot' | '0.2.0' | '0.2.0-taproot' | '0.2.1' | '0.2.2' | 'today'

export interface OfferOptions {
  release?: Release
  /** Terms other than the release's default ones, by their names on the wire. */
  terms?: Readonly<Record<string, Encodable>>
  /** `otherKey`: another one of the same wallet, for lies that need it. */
  lie?: { name: LieName; otherKey: BondKey }
}

/** The reply that makers of that release give when asked for their offer. */
export function offerMessage(bond: OfferedBond, { release = 'today', terms, lie }: OfferOptions = {}): Encodable {
  const hasChainCode = release === '0.2.2' || release === 'today'
  const { claim, send, needsChainCode } = lie ? lieOf(lie.name) : {}
  if (needsChainCode && !hasChainCode) throw new Error(`an offer of ${release} can't lie about its ${lie?.name}`)
  const claimed = claim && lie ? claim(bond, lie.otherKey) : bond
  const { key } = claimed
  const certHash = certificateHash(hasChainCode ? certificateText(claimed) : certificateTextOfEraA(claimed))
  const { publicKey, index, chainCode } = key
  const honest = { publicKey, index, chainCode, certHash, certSig: signDer(certHash, key) }
  const signed = send && lie ? send(honest, key, lie.otherKey) : honest

  const fidelity = {
    bond: {
      outpoint: { txid: toInternal(claimed.outpoint.txid), vout: claimed.outpoint.vout },
      amount: claimed.amountSats,
      lock_time: claimed.lockHeight,
      pubkey: signed.publicKey,
      conf_height: claimed.confHeight,
      cert_expiry: hasChainCode ? undefined : expiryOf(claimed.confHeight),
      is_spent: false,
      bond_index: hasChainCode ? signed.index : undefined,
      tx: release === 'today' ? null : undefined,
    },
    cert_hash: signed.certHash,
    cert_sig: signed.certSig,
  }
  const amounts = { max_size: 1_000_000, min_size: 10_000 }
  const { tweakablePoint } = key
  if (release === '0.1.3-taproot' || release === '0.2.0-taproot') {
    return {
      RespOffer: {
        tweakable_point: tweakablePoint,
        base_fee: 100,
        amount_relative_fee: new Float(0.1),
        time_relative_fee: new Float(0.005),
        minimum_locktime: 20,
        fidelity,
        min_size: amounts.min_size,
        max_size: amounts.max_size,
        ...terms,
      },
    }
  }
  const isUnified = hasChainCode || release === '0.2.1'
  const offer = {
    base_fee: isUnified ? 500 : 100,
    amount_relative_fee_pct: new Float(isUnified ? 0.0025 : 0.1),
    time_relative_fee_pct: new Float(isUnified ? 0.0001 : 0.005),
    required_confirms: 1,
    minimum_locktime: isUnified ? 10 : 20,
    ...amounts,
    tweakable_point: tweakablePoint,
    fidelity,
    tweak_chain_code: hasChainCode ? signed.chainCode : undefined,
    ...terms,
  }
  return isUnified ? { Offer: offer } : { RespOffer: offer }
}

/**
 * Certificates: the text by which a bond's key vouches for bond, lock and maker address, and its hash. Pure; knows no
 * chain. Source: docs/makers.md, "Certificate". A third design, of 2023, is older than any announcement: never met here.
 */
import { createHash } from 'node:crypto'
import { formatOutpoint, type Height, type Outpoint } from '../chain/types.ts'
import { isOnionHost, parseHostPort } from '../tor/address.ts'
import type { CertificateEra } from './proof.ts'

export interface Certified {
  outpoint: Outpoint
  amountSats: number
  lockHeight: Height
  /** 33 bytes, compressed. */
  publicKey: Uint8Array
}

export type CertificateTerms =
  /** Counted in periods of 2,016 blocks; no taker ever compared it with the tip. */
  | { era: 'expiry'; expiry: number }
  /** 33 bytes, compressed: the parent of the bond's key. */
  | { era: 'tweak-point'; tweakablePoint: Uint8Array }

const PREFIX = 'fidelity-bond-cert'
const SATS_PER_BITCOIN = 100_000_000

/** ASCII, fields joined by vertical bars. `makerAddress` as the maker calls itself: see `certificateAddresses`. */
export function certificateText(bond: Certified, terms: CertificateTerms, makerAddress: string): string {
  const head = [PREFIX, formatOutpoint(bond.outpoint), hex(bond.publicKey)]
  const body = [bond.lockHeight, bitcoinText(bond.amountSats), makerAddress]
  const fields =
    terms.era === 'expiry' ? [...head, terms.expiry, ...body] : [...head, ...body, hex(terms.tweakablePoint)]
  return fields.join('|')
}

/** As rust-bitcoin displays an amount: exactly eight decimals, none when it is a whole number of bitcoin. */
export function bitcoinText(amountSats: number): string {
  const fraction = amountSats % SATS_PER_BITCOIN
  const whole = (amountSats - fraction) / SATS_PER_BITCOIN
  return fraction === 0 ? `${whole} BTC` : `${whole}.${String(fraction).padStart(8, '0')} BTC`
}

/**
 * SHA-256 of SHA-256 of the text as a "Bitcoin Signed Message": 32 bytes as they stand in `cert_hash`. The text's length
 * stands before it: as a CompactSize today, until May 2026 as one byte, modulo 256. The two agree up to 252 bytes.
 */
export function certificateHash(text: string, era: CertificateEra): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const length = era === 'expiry' ? Buffer.of(bytes.length % 256) : compactSize(bytes.length)
  return sha256(sha256(Buffer.concat([MESSAGE_HEAD, length, bytes])))
}

const MESSAGE_HEAD = Buffer.from('\x18Bitcoin Signed Message:\n', 'latin1')

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** No certificate comes near 65,536 bytes. */
function compactSize(length: number): Buffer {
  return length < 0xfd ? Buffer.of(length) : Buffer.of(0xfd, length & 0xff, length >> 8)
}

/**
 * The names under which a maker dialled at `address` (`host:port`) may have certified itself, likeliest first. Today's
 * sign for the bare onion host; those of the `expiry` era for `host:port` until April 2026, then for the bare host. Test
 * addresses (`127.0.0.1:port`) have their port in every era.
 */
export function certificateAddresses(address: string, era: CertificateEra): readonly string[] {
  const host = parseHostPort(address)?.host
  if (host === undefined || !isOnionHost(host)) return [address]
  return era === 'expiry' ? [address, host] : [host]
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

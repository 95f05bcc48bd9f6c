/** The public key of an expanded secret key, of which no seed is known: Tor keeps, and makes, only those. Pure. */
import { ed25519 } from '@noble/curves/ed25519.js'

const { Point } = ed25519

/** Once a start: a table for many multiplications would cost more, and stay in memory. */
const GENERATOR = Point.fromAffine(Point.BASE.toAffine())

/** `expanded`: 64 bytes, the clamped scalar (little-endian) first. Returns 32 bytes (RFC 8032 5.1.5, steps 3 and 4). */
export function publicKeyOf(expanded: Uint8Array): Buffer {
  const scalar = BigInt(`0x${Buffer.from(expanded.subarray(0, 32)).reverse().toString('hex')}`)
  return Buffer.from(GENERATOR.multiply(scalar % Point.Fn.ORDER).toBytes())
}

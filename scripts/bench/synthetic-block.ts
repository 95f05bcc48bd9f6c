/** A block of the size and shape of today's: 2,500 transactions, about 6,500 inputs, 1.4 MB. Contents are noise under a true merkle root. */
import { createHash } from 'node:crypto'
import { merkleRoot } from '../../src/chain/block-proof.ts'
import { hashesIn } from '../../src/chain/decode.ts'

const TRANSACTIONS = 2_500
const INPUTS_EACH = 2.6
const OUTPUTS_EACH = 2.6

/** Deterministic for `seed`. */
export function syntheticBlock(seed: number): Buffer {
  let counter = 0
  const noise = (bytes: number) => {
    const parts: Buffer[] = []
    for (let have = 0; have < bytes; have += 64) {
      parts.push(createHash('sha512').update(`${seed}/${counter++}`).digest())
    }
    return Buffer.concat(parts).subarray(0, bytes)
  }
  const compact = (n: number) => (n < 0xfd ? Buffer.of(n) : Buffer.of(0xfd, n & 0xff, n >> 8))
  const header = noise(80)
  const parts: Buffer[] = [header, compact(TRANSACTIONS)]
  for (let i = 0; i < TRANSACTIONS; i++) {
    const inputs = i === 0 ? 1 : Math.max(1, Math.round(INPUTS_EACH + Math.sin(i) * 1.5))
    const outputs = Math.max(1, Math.round(OUTPUTS_EACH + Math.cos(i) * 1.5))
    parts.push(Buffer.of(2, 0, 0, 0, 0, 1), compact(inputs)) // version, segwit marker and flag
    for (let k = 0; k < inputs; k++) parts.push(noise(36), Buffer.of(0, 0xfd, 0xff, 0xff, 0xff))
    parts.push(compact(outputs))
    for (let k = 0; k < outputs; k++) parts.push(noise(8), Buffer.of(22, 0, 20), noise(20))
    for (let k = 0; k < inputs; k++) parts.push(Buffer.of(2, 72), noise(72), Buffer.of(33), noise(33))
    parts.push(i % 2 ? Buffer.of(0, 0, 0, 0) : noise(4))
  }
  const block = Buffer.concat(parts)
  merkleRoot(hashesIn(block, 'txid')).copy(block, 36)
  return block
}

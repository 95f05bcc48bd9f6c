/**
 * Pure: whether a block's bytes are those its header commits to. A failing disk changes a bit, and everything still
 * parses: only the hashes tell. Costs two hashes a transaction and more: for the blocks of which something is believed.
 * Sources: Bitcoin Core's consensus/merkle.cpp (with CVE-2012-2459), BIP141 "Commitment structure".
 */
import { Transaction } from 'bitcoinjs-lib'
import { coinbaseIn, hash256, hashesIn, MalformedError, writeHash256 } from './decode.ts'

const ROOT_AT = 36
const HASH_BYTES = 32
/** OP_RETURN, a push of 36 bytes, and the four that say what is committed to. */
const COMMITMENT = Buffer.from('6a24aa21a9ed', 'hex')

/** `txids`: of all its transactions in internal order, where they are known already. Throws MalformedError. */
export function assertTransactions(raw: Buffer, txids: Uint8Array = hashesIn(raw, 'txid')): void {
  const root = merkleRoot(Buffer.from(txids))
  if (root.equals(raw.subarray(ROOT_AT, ROOT_AT + HASH_BYTES))) return
  throw new MalformedError('its transactions are not those of its header: the merkle root is another')
}

/** Whether also the witnesses are the ones its miner committed to, which txids don't cover. Throws MalformedError. */
export function assertWitnesses(raw: Buffer): void {
  const wtxids = hashesIn(raw, 'wtxid')
  const coinbase = Transaction.fromBuffer(coinbaseIn(raw))
  const committed = coinbase.outs.findLast(({ script }) => COMMITMENT.equals(script.subarray(0, COMMITMENT.length)))
  if (!committed || committed.script.length < COMMITMENT.length + HASH_BYTES) {
    if (wtxids.equals(hashesIn(raw, 'txid'))) return
    throw new MalformedError('has witnesses, and commits to none')
  }
  const [reserved] = coinbase.ins[0]?.witness ?? []
  if (reserved?.length !== HASH_BYTES) throw new MalformedError('its coinbase has no witness of 32 bytes')
  wtxids.fill(0, 0, HASH_BYTES) // the coinbase can't commit to itself
  const hash = hash256(Buffer.concat([merkleRoot(wtxids), reserved]))
  if (hash.equals(committed.script.subarray(COMMITMENT.length, COMMITMENT.length + HASH_BYTES))) return
  throw new MalformedError('its witnesses are not those that its coinbase commits to')
}

/** Of `hashes`, 32 bytes each; they are overwritten. Throws MalformedError where two neighbours are the same. */
export function merkleRoot(hashes: Buffer): Buffer {
  let count = hashes.length / HASH_BYTES
  if (count === 0) throw new MalformedError('has no transactions')
  for (; count > 1; count = Math.ceil(count / 2)) {
    for (let i = 0; i < count; i += 2) {
      const [left, right, end] = [HASH_BYTES * i, HASH_BYTES * (i + 1), HASH_BYTES * (i + 2)]
      const isLast = i + 1 === count // an odd one out is its own neighbour
      // Transactions repeated at the end of a block leave its root as it is (CVE-2012-2459): no valid block has them.
      if (!isLast && hashes.compare(hashes, left, right, right, end) === 0)
        throw new MalformedError('repeats transactions')
      const one = hashes.subarray(left, right)
      writeHash256(isLast ? Buffer.concat([one, one]) : hashes.subarray(left, end), hashes, left / 2)
    }
  }
  return Buffer.from(hashes.subarray(0, HASH_BYTES))
}

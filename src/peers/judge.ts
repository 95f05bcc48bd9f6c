/**
 * Proofs against the chain: fetches what the chain says of the outpoint a proof names, and lets the rules decide. What is
 * announced comes from our own index, so a stranger's proof can never add what the chain doesn't have.
 */
import type { FidelityProof, OfferedKeys, ProofFacts, ProofVerdict } from '../bonds/proof.ts'
import type { ConfirmedBond } from '../bonds/types.ts'
import { lockBlocksOf } from '../bonds/verify.ts'
import { verifyProof } from '../bonds/verify-proof.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import type { Network, Outpoint } from '../chain/types.ts'
import { readBondOfTx, readPendingBonds } from '../store/bonds.ts'
import type { Db } from '../store/open.ts'

export interface JudgeDeps {
  db: Db
  api: Pick<NodeApi, 'output'>
  network: Network
}

/** `bond`: the announced bond that the proof is about; always there when the verdict is good. */
export interface Judgement {
  verdict: ProofVerdict
  bond: ConfirmedBond | undefined
}

/** Three cheap calls of bitcoind and three curve operations. Throws TransientError when bitcoind is away. */
export async function judgeProof(
  { db, api, network }: JudgeDeps,
  proof: FidelityProof,
  keys: OfferedKeys,
  address: string,
): Promise<Judgement> {
  const { tipHeight, output } = await api.output(proof.outpoint)
  const bond = readBondOfTx(db, proof.outpoint.txid)
  const facts: ProofFacts = {
    output: output ?? spentOutput(bond, proof.outpoint),
    announcement: bond ?? pendingOf(db, proof.outpoint),
    tipHeight,
    lockBlocks: lockBlocksOf(network),
  }
  const verdict = verifyProof(proof, keys, facts, address)
  if (!verdict.ok || bond) return { verdict, bond }
  // In a block of bitcoind's that we have not connected yet.
  const text = 'its block is not indexed yet: try again'
  return { verdict: { ok: false, era: verdict.era, failed: 'not-announced', text }, bond }
}

/** bitcoind no longer has an output that is spent in a block; of a bond we know what it was. */
function spentOutput(bond: ConfirmedBond | undefined, { vout }: Outpoint): ProofFacts['output'] {
  if (!bond || vout !== bond.outpoint.vout) return undefined
  const { amountSats, conf } = bond
  return { amountSats, scriptPubKey: Buffer.alloc(0), confHeight: conf.height, isUnspent: false }
}

function pendingOf(db: Db, { txid }: Outpoint): ProofFacts['announcement'] {
  return readPendingBonds(db).find(({ outpoint }) => outpoint.txid === txid)
}

/**
 * Proofs against the chain, a maker's own and those that somebody brings by `Post`: fetches what the chain says of the
 * outpoint a proof names, and lets the rules decide. What is announced comes from our own index, so a stranger's proof can
 * never add what the chain doesn't have.
 */
import type { FidelityProof, OfferedKeys, ProofFacts, ProofVerdict } from '../bonds/proof.ts'
import type { ConfirmedBond } from '../bonds/types.ts'
import { lockBlocksOf } from '../bonds/verify.ts'
import { proofChecks } from '../bonds/verify-proof.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import type { Network, Outpoint } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import { readBondOfTx, readPendingBondOfTx } from '../store/local/bonds.ts'
import type { Db } from '../store/open.ts'
import { parseMakerName } from '../tor/address.ts'
import type { Lane } from '../wire/work.ts'
import type { Clock } from '../world.ts'
import type { Liveness } from './liveness.ts'

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

/** Three cheap calls of bitcoind, and curve operations a piece each. Throws TransientError when bitcoind is away. */
export async function judgeProof(
  { db, api, network }: JudgeDeps,
  proof: FidelityProof,
  keys: OfferedKeys,
  address: string,
  lane: Pick<Lane, 'piece'>,
): Promise<Judgement> {
  const { tipHeight, output } = await api.output(proof.outpoint)
  const bond = readBondOfTx(db, proof.outpoint.txid)
  const facts: ProofFacts = {
    output: output ?? spentOutput(bond, proof.outpoint),
    announcement: bond ?? readPendingBondOfTx(db, proof.outpoint.txid),
    tipHeight,
    lockBlocks: lockBlocksOf(network),
  }
  const checks = proofChecks(proof, keys, facts, address)
  let step = await lane.piece(() => checks.next())
  while (!step.done) step = await lane.piece(() => checks.next())
  const verdict = step.value
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

export interface Posted {
  outpoint: Outpoint
  address: string
}

export interface PostDeps extends JudgeDeps {
  liveness: Liveness
  clock: Clock
  allowTestAddresses: boolean
}

/** Takes what is brought by `Post`, each in its turn at bitcoind. */
export class Posts {
  readonly #deps: PostDeps

  constructor(deps: PostDeps) {
    this.#deps = deps
  }

  /** Throws PeerFault naming the check that failed, or `busy`. */
  async take(
    address: string,
    proof: FidelityProof,
    keys: OfferedKeys,
    lane: Pick<Lane, 'ask' | 'piece'>,
  ): Promise<Posted> {
    const name = parseMakerName(address, this.#deps)
    if (!name || !('address' in name)) {
      throw new PeerFault('bad_request', 'url: expected host.onion:port, the address that the bond announced')
    }
    return lane.ask(() => this.#verify(address, proof, keys, lane))
  }

  async #verify(address: string, proof: FidelityProof, keys: OfferedKeys, lane: Pick<Lane, 'piece'>): Promise<Posted> {
    try {
      const { verdict, bond } = await judgeProof(this.#deps, proof, keys, address, lane)
      if (!verdict.ok) {
        throw new PeerFault('bad_request', `the proof failed the check ${verdict.failed}: ${verdict.text}`)
      }
      this.#deps.liveness.recordPost(bond!, verdict.era, this.#deps.clock.nowMs())
      return { outpoint: bond!.outpoint, address }
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      // What bitcoind is called here is nobody else's concern.
      throw new PeerFault('busy', 'bitcoind can not be asked just now: try again in a few seconds', { cause: error })
    }
  }
}

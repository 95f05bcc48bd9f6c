/** `Post`: a proof that somebody brings. It is verified like a maker's own, a few at a time, and adds no bond. */
import type { FidelityProof, OfferedKeys } from '../bonds/proof.ts'
import type { Outpoint } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import { Turns } from '../turns.ts'
import type { Clock } from '../world.ts'
import { type JudgeDeps, judgeProof } from './judge.ts'
import type { Liveness } from './liveness.ts'
import { parseMakerName } from './why.ts'

export const LIMITS = {
  /** Each asks bitcoind three times, and nobody is in a hurry: a full queue takes about a second. */
  turns: { atOnce: 2, queued: 64 },
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

export class Posts {
  readonly #deps: PostDeps
  readonly #turns = new Turns(LIMITS.turns)

  constructor(deps: PostDeps) {
    this.#deps = deps
  }

  /** Throws PeerFault naming the check that failed, or `busy`. */
  async take(address: string, proof: FidelityProof, keys: OfferedKeys): Promise<Posted> {
    const name = parseMakerName(address, this.#deps)
    if (!name || !('address' in name)) {
      throw new PeerFault('bad_request', 'url: expected host.onion:port, the address that the bond announced')
    }
    let posted: Posted | undefined
    const hadTurn = await this.#turns.run(1, async () => {
      posted = await this.#verify(address, proof, keys)
    })
    if (!hadTurn || !posted) throw new PeerFault('busy', 'too many proofs are being verified: try again in a second')
    return posted
  }

  async #verify(address: string, proof: FidelityProof, keys: OfferedKeys): Promise<Posted> {
    try {
      const { verdict, bond } = await judgeProof(this.#deps, proof, keys, address)
      if (!verdict.ok) {
        throw new PeerFault('bad_request', `the proof failed the check ${verdict.failed}: ${verdict.text}`)
      }
      this.#deps.liveness.recordPost(bond!, verdict.era, this.#deps.clock.nowMs())
      return { outpoint: bond!.outpoint, address }
    } catch (error) {
      if (error instanceof TransientError) throw new PeerFault('busy', error.message, { cause: error })
      throw error
    }
  }
}

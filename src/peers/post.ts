/** `Post`: a proof that somebody brings. It is verified like a maker's own, a few at a time, and adds no bond. */
import type { FidelityProof, OfferedKeys } from '../bonds/proof.ts'
import type { Outpoint } from '../chain/types.ts'
import { PeerFault, TransientError } from '../errors.ts'
import type { Clock } from '../world.ts'
import { type JudgeDeps, judgeProof } from './judge.ts'
import type { Liveness } from './liveness.ts'
import { parseMakerName } from './why.ts'

export const LIMITS = {
  /** Verified at once: each asks bitcoind three times, and nobody is in a hurry. */
  atOnce: 2,
  /** Waiting; beyond it `busy`. Two at a time take about a second for all of them. */
  waiting: 64,
}

export interface Posted {
  outpoint: Outpoint
  address: string
}

export class Posts {
  readonly #deps: JudgeDeps & { liveness: Liveness; clock: Clock; allowTestAddresses: boolean }
  #working = 0
  readonly #queue: (() => void)[] = []

  constructor(deps: JudgeDeps & { liveness: Liveness; clock: Clock; allowTestAddresses: boolean }) {
    this.#deps = deps
  }

  /** Throws PeerFault naming the check that failed, or `busy`. */
  async take(address: string, proof: FidelityProof, keys: OfferedKeys): Promise<Posted> {
    const name = parseMakerName(address, this.#deps)
    if (!name || !('address' in name)) {
      throw new PeerFault('bad_request', 'url: expected host.onion:port, the address that the bond announced')
    }
    if (this.#working >= LIMITS.atOnce) {
      if (this.#queue.length >= LIMITS.waiting) throw new PeerFault('busy', 'too many proofs at once: try again')
      await new Promise<void>((resolve) => this.#queue.push(resolve)) // who leaves hands its place over
    } else this.#working++
    try {
      const { verdict, bond } = await judgeProof(this.#deps, proof, keys, address)
      if (!verdict.ok)
        throw new PeerFault('bad_request', `the proof failed the check ${verdict.failed}: ${verdict.text}`)
      this.#deps.liveness.recordPost(bond!, verdict.era, this.#deps.clock.nowMs())
      return { outpoint: bond!.outpoint, address }
    } catch (error) {
      if (error instanceof TransientError) throw new PeerFault('busy', error.message, { cause: error })
      throw error
    } finally {
      const next = this.#queue.shift()
      if (next) next()
      else this.#working--
    }
  }
}

/** The demo's Nostr: takers of today that know one relay and no tracker. */
import type { HostPort } from '../src/tor/address.ts'
import { Taker } from '../test/sandbox/nostr/sim-taker.ts'
import type { TakerChain } from '../test/sandbox/nostr/taker-rules.ts'

/** A taker that has just started, and knows this relay alone. */
export async function takerAt(url: string, chain: TakerChain, socks: HostPort, signal: AbortSignal): Promise<Taker> {
  for (let attempt = 1; ; attempt++) {
    const taker = new Taker({ url, chain, eoseWaitMs: 60_000, route: { socks, timeoutMs: 60_000 } })
    try {
      return await taker.run()
    } catch (error) {
      if (attempt === 3 || signal.aborted) throw error // a fresh circuit can fail: as takers do, try again
    }
  }
}

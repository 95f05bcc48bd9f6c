/** The demo's Nostr: makers and takers of today, which know relays and no trackers, and what the tracker says of a relay. */
import type { HostPort } from '../src/tor/address.ts'
import type { RelayRow } from '../src/views/schemas/relays.ts'
import { announce, makerEvent } from '../test/sandbox/nostr/sim-maker.ts'
import { Taker } from '../test/sandbox/nostr/sim-taker.ts'
import type { TakerChain } from '../test/sandbox/nostr/taker-rules.ts'
import { runVerb } from '../test/sandbox/tracker.ts'
import { waitUntil } from '../test/sandbox/wait.ts'

/** As a maker does, through Tor. Returns the event's id. */
export async function announceAt(url: string, txid: string, socks: HostPort): Promise<string> {
  const { isAccepted, event, attempts } = await announce(url, makerEvent(txid), { socks, timeoutMs: 60_000 })
  if (!isAccepted) throw new Error(`the relay did not take the event of ${txid}: ${attempts.at(-1)!.refusal}`)
  return event.id
}

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

/** What the tracker last said of its one relay, once that is as wanted. */
export function relayRow(dataDir: string, what: string, isWanted: (row: RelayRow) => boolean): Promise<RelayRow> {
  return waitUntil(
    what,
    async () => {
      const { stdout } = await runVerb(['relays', '--json', '--network', 'regtest', '--datadir', dataDir])
      const [row] = JSON.parse(stdout) as RelayRow[]
      return row && isWanted(row) && row
    },
    { timeoutMs: 180_000, everyMs: 1_000 },
  )
}

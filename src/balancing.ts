/** What the loop of a back end of Onionbalance (tor/balanced-onion.ts) needs of the running daemon. */
import type { Config } from './config.ts'
import type { Core } from './core.ts'
import { BalancedOnion } from './tor/balanced-onion.ts'
import type { OnionDeps } from './tor/onion.ts'
import { targetFor } from './tor/targets.ts'
import { currentReadiness, whyNotServing } from './views/status.ts'

/** Runs until the signal. `core.wire` listens by now. */
export async function runBackEnd(
  core: Core,
  place: Extract<Config['tor'], { kind: 'torrc' }>,
  deps: OnionDeps,
  signal: AbortSignal,
): Promise<void> {
  const { cells, clock, healing, config } = core
  const wire = core.wire!
  const { door } = core
  await new BalancedOnion(
    {
      control: place.control!,
      password: place.password,
      cookieFile: place.cookieFile,
      hostnameFile: place.hostnameFile,
      publicOnion: place.publicOnion!,
      virtualPort: wire.port,
      target: (localHost) => targetFor('address', wire, place, localHost),
      nostr: door && ((localHost) => targetFor('nostr', door, place, localHost)),
      streamsPerCircuit: place.streamsPerCircuit,
      circuitIds: config.wire.circuitIds,
    },
    {
      ...deps,
      healing,
      whyNotReady: () => whyNotServing(currentReadiness(core)),
      uploaded() {
        cells.descriptor = { uploadedMs: clock.monotonicMs() }
      },
      republished() {
        cells.republished = (cells.republished ?? 0) + 1
        cells.republishedAtMs = clock.nowMs()
      },
      withdrawn() {
        cells.withdrawn = (cells.withdrawn ?? 0) + 1
      },
    },
  ).run(signal)
}

/** The watched relays: as the running daemon tells them, else whether each is there. */
import { TransientError } from '../errors.ts'
import { RelayConnection } from '../nostr/relay-client.ts'
import type { TorPort } from '../tor/address.ts'
import type { RelayRow } from '../views/schemas/relays.ts'
import { after, type Clock } from '../world.ts'
import { type Finding, well, worth } from './finding.ts'

const LIMITS = {
  /** A relay by an onion takes some ten seconds. */
  openMs: 30_000,
}

export interface DoctorRelays {
  urls: readonly string[]
  socks: TorPort | undefined
  publish: boolean
  /** What the running daemon says; undefined where none runs. */
  rows: readonly RelayRow[] | undefined
}

export async function relayFindings({ urls, socks, publish, rows }: DoctorRelays, clock: Clock): Promise<Finding[]> {
  if (urls.length === 0) return []
  const findings = await Promise.all(
    urls.map((url) => {
      const row = rows?.find((one) => one.url === url)
      return row ? rowFinding(row) : tryRelay(url, socks, clock)
    }),
  )
  const sent = publish
    ? 'bonds that are missing at relays are announced there, under the key of this tracker'
    : 'relays are only read: what is missing there is told, and not mended (--nostr-publish)'
  return [...findings, well('nostr-publish', sent)]
}

function rowFinding({ url, state, announced, missing, failure, publishing }: RelayRow): Finding {
  if (failure !== null) return worth('relay', `${url} is not read: ${failure}`, fixOf(failure))
  if (publishing?.refusal != null) {
    const fix = 'nothing, if it is a whim; else leave it out of --nostr-relays, or --nostr-publish'
    return worth('relay', `${url} is read, and does not take what is missing there: ${publishing.refusal}`, fix)
  }
  if (announced === null) return well('relay', `${url} is ${state}; nothing is known of it yet`)
  return well('relay', `${url} is read: ${announced} bonds announced, ${missing} missing`)
}

async function tryRelay(url: string, socks: TorPort | undefined, clock: Clock): Promise<Finding> {
  const late = new AbortController()
  const tooLate = new TransientError(`no connection within ${LIMITS.openMs / 1000} s`)
  const cancel = after(LIMITS.openMs, () => late.abort(tooLate))
  try {
    using _ = await RelayConnection.open(url, { socks }, clock, late.signal)
    return well('relay', `${url} answers`)
  } catch (error) {
    if (!(error instanceof TransientError)) throw error
    return worth('relay', `${url} is not reached: ${error.message}`, fixOf(error.message))
  } finally {
    cancel()
  }
}

function fixOf(failure: string): string {
  if (failure.includes('moved')) return 'name the new address in --nostr-relays'
  if (failure.includes('NODE_EXTRA_CA_CERTS'))
    return 'NODE_EXTRA_CA_CERTS=<file> in the environment, if the relay is yours'
  return 'fidelity-tracker relays tells when it is read again; one that stays away: leave it out of --nostr-relays'
}

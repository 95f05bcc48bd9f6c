/**
 * Sends one relay what it lacks, as the mender decides: events of bonds that are missing there, and now and then the one
 * that says where this tracker is. Of trackers that share a store one sends the bonds; each says where it is.
 */
import type { Logger } from 'pino'
import type { Network, Txid } from '../chain/types.ts'
import { TransientError } from '../errors.ts'
import type { HeldLease } from '../store/shared/held-lease.ts'
import type { Lane } from '../wire/work.ts'
import { type Clock, sleep } from '../world.ts'
import { bondEventDraft, type EventDraft, type NostrEvent } from './event.ts'
import { MENDER_LIMITS, type Mendable, type Mender } from './mender.ts'
import type { OwnNews } from './own-news.ts'
import type { RelaySession } from './relay-session.ts'
import type { HeldBond } from './relay-view.ts'
import type { EventSigner } from './signatures.ts'

export const RELAY_MENDING_LIMITS = {
  /** How often is looked whether something is due. */
  lookMs: 1_000,
  /** Of trackers that share a store one mends a relay: for so long another waits, once that one has died. */
  leaseMs: 30_000,
}

export interface Mending {
  mender: Mender
  /** Ours while no other tracker that shares our store mends the relay. */
  lease: HeldLease
  signer: EventSigner
  /** Bonds that may be sent where they are missing. */
  bonds(): readonly Mendable[]
  ownNews: OwnNews
}

/** The relay as it is watched. */
export interface MendedRelay {
  url: string
  network: Network
  /** It is listened to, and its bonds are counted. */
  isReady(): boolean
  /** What it has of a bond; undefined: no valid event. */
  at(txid: Txid): HeldBond | undefined
}

/** Runs until the signal. Throws TransientError at the end of the connection. */
export async function mendRelay(
  { mender, lease, signer, bonds, ownNews }: Mending,
  relay: MendedRelay,
  session: RelaySession,
  lane: Lane,
  { clock, log }: { clock: Clock; log: Logger },
  signal: AbortSignal,
): Promise<void> {
  /** True when the relay should have it now. */
  const publish = async (draft: EventDraft, txid?: Txid): Promise<NostrEvent | undefined> => {
    const event = await lane.piece(() => signer.sign(draft))
    mender.sent(txid)
    const { ok, notice } = await session.publish(event, MENDER_LIMITS.okMs, signal)
    return mender.answered(ok, notice) ? event : undefined
  }
  const nowS = () => Math.floor(clock.nowMs() / 1_000)
  for (;;) {
    await sleep(RELAY_MENDING_LIMITS.lookMs, signal)
    if (!relay.isReady() || !mender.isReady) continue
    const due = () => mender.next(bonds(), (txid) => relay.at(txid))
    const bond = due() && (await lease.isOurs()) ? due() : undefined
    if (!bond) {
      const draft = ownNews.due(nowS())
      if (draft) ownNews.said((await publish(draft)) !== undefined)
      continue
    }
    const { txid } = bond
    const event = await publish(bondEventDraft({ txid, vout: 0 }, relay.network, nowS()), txid)
    if (!event) {
      log.info({ relay: relay.url, detail: mender.pause?.why }, 'relay does not take a missing bond: waiting')
      continue
    }
    // It counts as announced when the relay serves it: most send it at once, others have to be asked.
    if (!relay.at(txid)) await askFor(event.id, session, signal)
    if (relay.at(txid)) log.info({ relay: relay.url, txid }, 'missing bond announced at a relay')
    else {
      mender.unserved(txid)
      log.info({ relay: relay.url, txid }, 'relay does not serve what it accepted')
    }
  }
}

/** What there is of the event has come then; a relay that does not tell serves it to nobody. */
async function askFor(id: string, session: RelaySession, signal: AbortSignal): Promise<void> {
  try {
    await session.read('sent', { ids: [id] }, signal)
  } catch (error) {
    if (!(error instanceof TransientError)) throw error
  } finally {
    session.close('sent')
  }
}

/** A tracker that lies: a real wire server whose handler answers with what the test makes of a real tracker's list. */
import { digestOf } from '../../src/bonds/digest.ts'
import { encodeReply, type Reply } from '../../src/wire/messages.ts'
import type { WireServer } from '../../src/wire/server.ts'
import { startServer } from './wire.ts'

export type BondList = Extract<Reply, { type: 'Bonds' }>

/** With the digest and the total that its rows make: a lie that agrees with itself. */
export function consistent(list: BondList): BondList {
  const digest = digestOf(list.bonds.map((row) => ({ ...row, conf: { height: row.confHeight } })))
  return { ...list, digest, total: list.bonds.length }
}

/** Answers `Bonds` with the whole of what `tell` says, one page, and knows nothing else. */
export function startForgedTracker(tell: () => BondList | Promise<BondList>): Promise<WireServer> {
  return startServer(async (request) =>
    request.type === 'Bonds'
      ? { send: encodeReply(await tell()) }
      : { send: encodeReply({ type: 'Error', code: 'unknown_request', message: 'only Bonds' }) },
  )
}

/** A tracker of version 1: closes on what it does not know, as the reference tracker does. */
export function startOldTracker(addresses: () => readonly string[]): Promise<WireServer> {
  return startServer((request) =>
    request.type === 'Get' ? { send: encodeReply({ type: 'Address', addresses: addresses() }) } : 'close',
  )
}

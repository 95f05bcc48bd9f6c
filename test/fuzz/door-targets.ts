/** What comes to the Nostr door: messages as texts, events in them, and frames as bytes. */

import { judgeArrived } from '../../src/nostr/arrived-event.ts'
import { parseClientMessage } from '../../src/nostr/door-messages.ts'
import { isMatch } from '../../src/nostr/filters.ts'
import { FrameProgress } from '../../src/nostr/frame-progress.ts'
import { makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { maskedText } from '../support/door-load.ts'
import type { Target } from './fuzz.ts'

const AT_S = 1_774_000_000
const EVENT = makerEvent('ab'.repeat(32), { createdAtS: AT_S })

export const DOOR_SEEDS = [
  JSON.stringify(['EVENT', EVENT]),
  JSON.stringify(['REQ', 'market-discovery-ws://127.0.0.1:8082', { kinds: [37_780], since: AT_S }]),
  JSON.stringify(['REQ', 'é"\\', { ids: [EVENT.id], '#d': ['x'], limit: 5 }, { authors: [EVENT.pubkey], until: 0 }]),
  JSON.stringify(['CLOSE', 'x']),
  JSON.stringify(['COUNT', 'x', {}]),
].map((text) => Buffer.from(text))

const messages: Target = {
  name: 'nostr',
  seeds: DOOR_SEEDS,
  take(input) {
    const message = parseClientMessage(input.toString())
    if (message.type === 'EVENT') {
      const { ok } = judgeArrived(message.event, 'regtest', AT_S)
      // Everything that is read is under the signature: only the very event, written in another way, may pass.
      if (ok && (message.event as typeof EVENT).id !== EVENT.id) throw new Error('another event passes')
    }
    if ('token' in message && message.token !== '' && typeof JSON.parse(message.token) !== 'string') {
      throw new Error('a subscription id that is no text')
    }
    if ('filters' in message) for (const filter of message.filters) isMatch(filter, EVENT)
  },
}

/** However its bytes are cut, a message's end is seen at the same place. */
const frames: Target = {
  name: 'nostr-frames',
  seeds: [Buffer.concat(DOOR_SEEDS.slice(1).map((seed) => maskedText(seed.toString())))],
  take(input, chance) {
    const [whole, cut] = [new FrameProgress(), new FrameProgress()]
    whole.push(input)
    for (let at = 0; at < input.length; ) {
      const end = Math.min(input.length, at + 1 + chance.below(40))
      cut.push(input.subarray(at, end))
      at = end
    }
    if (whole.isMidMessage !== cut.isMidMessage) throw new Error('a cut makes a difference')
  },
}

export const DOOR_TARGETS = [messages, frames]

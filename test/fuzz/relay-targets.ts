/** What relays say to us. */
import assert from 'node:assert/strict'
import { EventJudge } from '../../src/nostr/relay-events.ts'
import { RELAY_INFORMATION_LIMITS, readRelayInformation } from '../../src/nostr/relay-information.ts'
import { acceptanceOf, RELAY_MESSAGE_LIMITS, readRelayMessage } from '../../src/nostr/relay-messages.ts'
import { noFaults, RelayView, relayCounts } from '../../src/nostr/relay-view.ts'
import { relaySchema } from '../../src/views/schemas/relays.ts'
import { signEvent } from '../sandbox/nostr/signed-event.ts'
import { makerEvent } from '../sandbox/nostr/sim-maker.ts'
import { txidOf } from '../support/bonds.ts'
import { aRelay } from '../support/relays.ts'
import type { Target } from './fuzz.ts'

const NOW_S = 1_800_000_000
const event = makerEvent(txidOf(1), { createdAtS: NOW_S })
const odd = signEvent({ kind: 37_780, content: '', created_at: NOW_S, tags: [[], ['d'], ['expiration', '1e9']] })
const seeds = [
  ...[event, odd].map((one) => ['EVENT', 'bonds', one]),
  ['EOSE', 'bonds'],
  ['OK', event.id, true, ''],
  ['OK', event.id, false, 'blocked: no'],
  ['OK', event.id, true, 'duplicate: have it'],
  ['NOTICE', 'slow down'],
  ['CLOSED', 'bonds', 'auth-required: who are you'],
  ['AUTH', 'challenge'],
].map((message) => Buffer.from(JSON.stringify(message)))
const deep = Buffer.from(`["EVENT","bonds",${'['.repeat(5_000)}${']'.repeat(5_000)}]`)

const PRINTABLE = /^[\x20-\x7e]*$/

const frames: Target = {
  name: 'relay-frames',
  seeds: [...seeds, deep],
  take(input) {
    const frame = input.toString()
    const message = readRelayMessage(frame)
    if (!message) return
    if ('text' in message) {
      assert(message.text.length <= RELAY_MESSAGE_LIMITS.textChars && PRINTABLE.test(message.text))
    }
    if (message.type === 'OK') acceptanceOf(message)
    if (message.type !== 'EVENT') return
    const view = new RelayView()
    const judged = new EventJudge('regtest', undefined).judge(message.event, frame, NOW_S)
    if (judged.ok) view.take(judged.txid, judged.held, false)
    else view.refuse(judged.key, judged.fault)
    const counts = relayCounts(view, [txidOf(1)], () => true, NOW_S)
    const sum = counts.dead + Object.values(counts.invalid).reduce((a, b) => a + b, 0)
    assert.equal(sum, 1, 'it announces one bond, or counts as one that is not valid')
    assert.equal(counts.announced + counts.missing.length, 1)
  },
}

const information: Target = {
  name: 'relay-information',
  seeds: [
    { name: 'a relay', software: 'https://example.org', version: '1', limitation: { max_limit: 500 } },
    { name: 5, limitation: { auth_required: true, min_pow_difficulty: -1, restricted_writes: 'no' } },
    { limitation: [] },
  ].map((document) => Buffer.from(JSON.stringify(document))),
  take(input) {
    const said = readRelayInformation(input.toString())
    if (!said) return
    for (const text of [said.name, said.software, said.version]) {
      assert((text?.length ?? 0) <= RELAY_INFORMATION_LIMITS.textChars && PRINTABLE.test(text ?? ''))
    }
    relaySchema.parse(
      aRelay({ information: said, counts: { announced: 0, missing: [], dead: 0, invalid: noFaults() } }),
    )
  },
}

export const RELAY_TARGETS: readonly Target[] = [frames, information]

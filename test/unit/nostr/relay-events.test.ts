/** How events of a relay are judged: as takers do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventJudge, keyOfFrame } from '../../../src/nostr/relay-events.ts'
import { signEvent } from '../../sandbox/nostr/signed-event.ts'
import { txidOf } from '../../support/bonds.ts'

const NOW_S = 1_800_000_000
const TXID = txidOf(1)
const KEY = Buffer.alloc(32, 7)

function anEvent(change: { kind?: number; content?: string; created_at?: number; expiration?: string | null } = {}) {
  const { kind = 37_778, content = `${TXID}:0`, created_at = NOW_S, expiration = String(NOW_S + 3_600) } = change
  const tags = [['d', `fidelity:${TXID}:0`], ...(expiration === null ? [] : [['expiration', expiration]])]
  return signEvent({ kind, content, created_at, tags }, KEY)
}

test('a valid one tells its bond, and until when takers look it up', () => {
  const event = anEvent()
  const judge = new EventJudge('main', undefined)
  const judged = { ok: true, txid: TXID, held: { untilS: NOW_S + 3_600, isOwn: false }, createdAtS: NOW_S }
  assert.deepEqual(judge.judge(event, JSON.stringify(event), NOW_S), judged)
  const forEver = judge.judge(anEvent({ expiration: '9999999999' }), '', NOW_S)
  assert.equal(forEver.ok && forEver.held.untilS, NOW_S + 86_400, 'a day after it was made whatever it says')
  const own = new EventJudge('main', event.pubkey).judge(event, '', NOW_S)
  assert.equal(own.ok && own.held.isOwn, true)
})

test('each fault has its name', () => {
  const judge = new EventJudge('main', undefined)
  const { sig: _, ...unsigned } = anEvent()
  const cases: [event: unknown, fault: string][] = [
    [null, 'shape'],
    [5, 'shape'],
    [unsigned, 'shape'],
    [{ ...anEvent(), id: anEvent().id.toUpperCase() }, 'shape'],
    [{ ...anEvent(), tags: [[5]] }, 'shape'],
    [anEvent({ kind: 37_780 }), 'kind'],
    [anEvent({ expiration: null }), 'no_expiration'],
    [anEvent({ expiration: 'soon' }), 'no_expiration'],
    [anEvent({ expiration: String(NOW_S - 1) }), 'expired'],
    [anEvent({ created_at: NOW_S + 301 }), 'future'],
    [anEvent({ created_at: NOW_S - 86_401 }), 'old'],
    [anEvent({ content: `${TXID}:1` }), 'no_bond'],
    [anEvent({ content: 'hello' }), 'no_bond'],
    [{ ...anEvent(), id: 'ab'.repeat(32) }, 'id'],
    [{ ...anEvent(), sig: '00'.repeat(64) }, 'signature'],
  ]
  for (const [event, fault] of cases) {
    const judged = judge.judge(event, JSON.stringify(event), NOW_S)
    assert.equal(judged.ok === false && judged.fault, fault, JSON.stringify(event))
    assert.deepEqual(judge.judge(event, JSON.stringify(event), NOW_S), judged, 'the same whenever it comes')
  }
})

test('what is no event counts once, in whichever subscription it comes', () => {
  const frame = (id: string, event: unknown) => JSON.stringify(['EVENT', id, event])
  assert.equal(keyOfFrame(frame('bonds', { a: 1 })), keyOfFrame(frame('all "of it", [1]', { a: 1 })))
  assert.equal(
    keyOfFrame(frame('bonds', { a: 1 })),
    keyOfFrame(` [ "EVENT" , "x"${JSON.stringify([{ a: 1 }]).replace('[', ',')}`),
  )
  assert.notEqual(keyOfFrame(frame('bonds', { a: 1 })), keyOfFrame(frame('bonds', { a: 2 })))
})

test('one that was found right is not verified again; its id lends nothing to another', () => {
  const judge = new EventJudge('main', undefined)
  const event = anEvent()
  const other = { ...event, content: `${txidOf(2)}:0` }
  assert.equal(judge.judge(event, JSON.stringify(event), NOW_S).ok, true)
  const judged = judge.judge(other, '', NOW_S)
  assert.equal(judged.ok === false && judged.fault, 'id')
  // Its time passes all the same.
  assert.equal(judge.judge(event, JSON.stringify(event), NOW_S + 3_601).ok, false)
  // All that was signed is in the id, so that a signature says nothing new: it is not looked at.
  assert.equal(judge.judge({ ...event, sig: '00'.repeat(64) }, '', NOW_S).ok, true)
})

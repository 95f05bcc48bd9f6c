/** When a relay is told where this tracker is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OwnNews } from '../../../src/nostr/own-news.ts'
import { TRACKER_EVENT_LIMITS, type TrackerNews } from '../../../src/nostr/tracker-event.ts'
import { onionHost } from '../../support/onions.ts'

const NOW_S = 1_800_000_000
const { everyS, everySMax } = TRACKER_EVENT_LIMITS
const NEWS: TrackerNews = {
  ...{ host: onionHost('us'), port: 8080, network: 'regtest', version: '1', height: 5 },
  ...{ blockHash: '00'.repeat(32), digest: '11'.repeat(32) },
}

test('at once, then once an hour, after a restart too', () => {
  const own = new OwnNews(() => NEWS, undefined)
  assert.ok(own.due(NOW_S))
  own.said(true)
  assert.equal(own.due(NOW_S + everyS - 1), undefined)
  const again = new OwnNews(() => NEWS, own.saidS)
  assert.equal(again.due(NOW_S + everyS - 1), undefined)
  assert.equal(again.due(NOW_S + everyS)?.created_at, NOW_S + everyS)
})

test('while there is nothing to tell nothing is told, and then at once', () => {
  let news: TrackerNews | undefined
  const own = new OwnNews(() => news, undefined)
  assert.equal(own.due(NOW_S), undefined)
  news = NEWS
  assert.ok(own.due(NOW_S + 1))
})

test('where it is not taken it is offered ever more seldom, at least once a day', () => {
  const own = new OwnNews(() => NEWS, undefined)
  let atS = NOW_S
  for (const pauseS of [2, 4, 8, 16, 24, 24].map((hours) => hours * 3_600)) {
    assert.ok(own.due(atS))
    own.said(false)
    assert.equal(own.due(atS + pauseS - 1), undefined)
    atS += pauseS
  }
  assert.equal(everySMax, 86_400)
  assert.ok(own.due(atS))
  own.said(true)
  assert.ok(own.due(atS + everyS))
})

test('a clock that was set back does not silence us', () => {
  const own = new OwnNews(() => NEWS, NOW_S + 1_000_000)
  assert.ok(own.due(NOW_S))
})

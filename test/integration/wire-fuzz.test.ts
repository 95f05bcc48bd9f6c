/** A short form of `npm run fuzz -- live`: hostile bytes at all doors of a real daemon, which goes on answering. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzzLive } from '../fuzz/live.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'

test('hostile frames, Nostr messages and HTTP requests cost their own connection, and nothing else', async () => {
  await using node = await Regtest.start()
  await using tracker = await Tracker.start(node, { http: true, nostr: true })
  await tracker.caughtUp(node)
  const { tried, finds } = await fuzzLive(tracker, 20_261_126, { inputs: 3_000, forMs: Number.POSITIVE_INFINITY })
  assert.deepEqual([tried, finds], [3_000, []])
  assert.deepEqual(await tracker.addresses(), [])
})

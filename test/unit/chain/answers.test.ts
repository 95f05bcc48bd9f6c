import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeAnswer, isNoRoom, repliesIn } from '../../../src/chain/answers.ts'

const ask = (...ids: string[]) => ids.map((id) => ({ id, method: 'getblockhash' }))
const body = (value: unknown) => Buffer.from(JSON.stringify(value))
const reply = (id: unknown, result: unknown = 1) => ({ result, error: null, id })
const refusal = (id: unknown) => ({ result: null, error: { code: -8, message: 'no' }, id })

test('a reply is one that answers what was asked, in its order', () => {
  assert.equal(repliesIn(200, body(reply('a')), ask('a')), JSON.stringify(reply('a')))
  const swapped = repliesIn(200, body([reply('b', 2), reply('a', 1)]), ask('a', 'b'))
  assert.deepEqual(JSON.parse(swapped!), [reply('a', 1), reply('b', 2)])
  for (const other of [reply('b'), reply(null), [], [reply('a'), reply('b')]]) {
    assert.throws(() => repliesIn(200, body(other), ask('a')), /to other questions/)
  }
  assert.throws(() => repliesIn(200, body([reply('a'), reply('a')]), ask('a', 'b')), /to other questions/)
})

test('a refusal that names no question of ours is told in its own words, and answers nothing', () => {
  for (const id of [null, 'b', 1]) {
    assert.throws(() => repliesIn(500, body(refusal(id)), ask('a')), /refuses with code -8: no$/)
    assert.throws(() => repliesIn(200, body(refusal(id)), ask('a', 'b')), /refuses with code -8: no$/)
  }
  assert.throws(() => repliesIn(500, body({ error: 'down' }), ask('a')), /refuses with code undefined/)
})

test('a refusal comes with 200, 400, 404 or 500, a result with 200 alone', () => {
  for (const status of [200, 400, 404, 500]) assert.ok(repliesIn(status, body(refusal('a')), ask('a')), String(status))
  for (const status of [201, 302, 403, 429, 502, 503]) {
    assert.equal(repliesIn(status, body(refusal('a')), ask('a')), undefined, String(status))
  }
  for (const status of [400, 404, 500]) assert.equal(repliesIn(status, body(reply('a')), ask('a')), undefined)
})

test('anything else is no reply', () => {
  for (const text of ['', '<html>', 'null', 'true', '{}', '[null]', '{"result":1', '\u0000']) {
    assert.equal(repliesIn(200, Buffer.from(text), ask('a')), undefined, text)
  }
})

test('no room is told apart from a bitcoind that starts', () => {
  assert.ok(isNoRoom(503, Buffer.from('Work queue depth exceeded')))
  assert.ok(isNoRoom(500, Buffer.from('Work queue depth exceeded\r\n')))
  assert.ok(isNoRoom(429, Buffer.alloc(0)))
  assert.ok(!isNoRoom(503, Buffer.from('Service temporarily unavailable: Loading block index')))
  assert.ok(!isNoRoom(500, Buffer.from('{}')))
})

test('an answer is described in one short line that can be printed', () => {
  assert.equal(
    describeAnswer(404, 'Not Found', Buffer.from('<html>\r\n oops\u001b[31m')),
    'HTTP 404 Not Found: “<html> oops?[31m”',
  )
  assert.equal(describeAnswer(204, 'No Content', Buffer.alloc(0)), 'HTTP 204 No Content')
  assert.ok(describeAnswer(200, 'OK', Buffer.alloc(10_000_000, 0x41)).length < 300)
})

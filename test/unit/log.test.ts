/** The log as it is written: lines of JSON for programs, lines of text for people; what is secret in neither. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLog, setLogLevel } from '../../src/log.ts'
import type { LogFormat } from '../../src/setting-values.ts'
import { tempDir } from '../support/temp-dir.ts'

const STRANGER = 'no\u001b[31m maker\n{"level":60}'

async function written(format: LogFormat): Promise<string[]> {
  using dir = tempDir()
  const file = join(dir.path, 'log')
  const fd = openSync(file, 'w')
  try {
    const log = await openLog('info', format, fd)
    const room = log.child({ room: 'peers' })
    room.debug('not told at this level')
    setLogLevel(log, 'debug')
    room.debug({ detail: STRANGER, auth: 'user:hunter2', rpc: { password: 'hunter2' } }, 'maker probed')
    log.warn({ depth: 2 }, 'reorg: blocks taken back')
  } finally {
    closeSync(fd)
  }
  return readFileSync(file, 'utf8').trimEnd().split('\n')
}

test('for people a line each, with the date and how far the clock is from UTC, and nothing that steers a terminal', async () => {
  const lines = await written('pretty')
  assert.equal(lines.length, 2)
  assert.match(lines[0]!, /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] DEBUG: maker probed \{.*"room":"peers"/)
  assert.match(lines[1]!, /\] WARN: reorg: blocks taken back \{"depth":2\}$/)
  for (const line of lines) {
    assert.doesNotMatch(line, /hunter2/)
    assert.ok([...line].every((char) => char >= ' '))
  }
})

test('where nobody looks on, and where it is asked for, a line of JSON each', async () => {
  for (const format of ['auto', 'json'] as const) {
    const [probed, reorg, ...more] = (await written(format)).map((line) => JSON.parse(line))
    assert.deepEqual([more, reorg.level, reorg.depth], [[], 40, 2])
    assert.equal(probed.detail, STRANGER)
    assert.deepEqual([probed.auth, probed.rpc.password], ['<secret>', '<secret>'])
    assert.ok(!Number.isNaN(Date.parse(probed.time)))
  }
})

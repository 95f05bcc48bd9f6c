/** Priorities as sd-daemon(3) has them, one for every line that journald would make of a text. */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { isJournal, withPriority } from '../../src/journal.ts'

test('pino’s levels as syslog’s priorities', () => {
  const priorities = [10, 20, 30, 40, 50, 60].map((level) => withPriority('{}\n', level))
  assert.deepEqual(priorities, ['<7>{}\n', '<7>{}\n', '<6>{}\n', '<4>{}\n', '<3>{}\n', '<2>{}\n'])
})

test('every line of a text has it, as journald keeps each by itself', () => {
  assert.equal(withPriority('Error: a\n    at b\n\n    at c', 50), '<3>Error: a\n<3>    at b\n\n<3>    at c')
  assert.equal(withPriority('', 50), '')
  const oneLine = JSON.stringify({ detail: 'what a stranger sent:\n\r\u2028\u2029<0>' })
  assert.equal(withPriority(oneLine, 30), `<6>${oneLine}`)
})

test('the journal is known by the numbers of its stream', () => {
  const fd = openSync('/dev/null', 'r')
  const { dev, ino } = fstatSync(fd, { bigint: true })
  assert.ok(isJournal(fd, `${dev}:${ino}`))
  for (const other of [undefined, '', ':', `${dev}`, `${dev}:`, `${dev}:${ino}0`, ` ${dev}:${ino}`, `${ino}:${dev}`]) {
    assert.ok(!isJournal(fd, other), String(other))
  }
  closeSync(fd)
  assert.ok(!isJournal(fd, `${dev}:${ino}`), 'a closed one is nobody’s')
})

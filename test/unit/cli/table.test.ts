/** Tables: which columns a terminal has room for, what is never cut, and what people ask for by name. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Column, type TableLook, table } from '../../../src/cli/table.ts'
import { ConfigError } from '../../../src/errors.ts'

interface Row {
  name: string
  count: number
  note: string
}

const COLUMNS: readonly Column<Row>[] = [
  { head: 'COUNT', rank: 1, isNumber: true, cell: ({ count }) => String(count) },
  { head: 'NAME', rank: 0, cell: ({ name }) => name },
  { head: 'LAST SEEN', rank: 2, cell: () => 'yesterday' },
  { head: 'NOTE', rank: 3, cell: ({ note }) => note },
  { head: 'CODE', rank: 9, isExtra: true, cell: ({ name }) => name.toUpperCase() },
]
const ROWS: readonly Row[] = [
  { name: 'a-long-name-that-is-pasted', count: 7, note: 'none' },
  { name: 'b', count: 1_200, note: 'quite a lot of words' },
]
const look = (width: number | undefined, columns?: readonly string[]): TableLook => ({ width, columns, nowMs: 0 })
const shown = (width: number | undefined, columns?: readonly string[]) => table(COLUMNS, ROWS, look(width, columns))

test('without a terminal all columns are there, numbers to the right, extra ones only when named', () => {
  assert.deepEqual(shown(undefined).split('\n'), [
    'COUNT  NAME                        LAST SEEN  NOTE',
    '    7  a-long-name-that-is-pasted  yesterday  none',
    ' 1200  b                           yesterday  quite a lot of words',
  ])
})

test('with less room the least wanted columns go, and are named', () => {
  const whole = Math.max(
    ...shown(undefined)
      .split('\n')
      .map(({ length }) => length),
  )
  assert.equal(shown(whole), shown(undefined), 'just enough')
  assert.deepEqual(shown(whole - 1).split('\n'), [
    'COUNT  NAME                        LAST SEEN',
    '    7  a-long-name-that-is-pasted  yesterday',
    ' 1200  b                           yesterday',
    '(no room for note: --wide shows all)',
  ])
})

test('of columns that are wanted alike the last one goes first', () => {
  const alike = COLUMNS.slice(0, 4).map((column) => (column.rank > 1 ? { ...column, rank: 2 } : column))
  assert.match(
    table(alike, ROWS, look(50)),
    /^COUNT {2}NAME +LAST SEEN\n[\s\S]*\(no room for note: --wide shows all\)$/,
  )
})

test('what a row is about is never cut: where it leaves no room it has a line of its own', () => {
  assert.deepEqual(shown(30).split('\n'), [
    'NAME',
    '  COUNT  LAST SEEN',
    'a-long-name-that-is-pasted',
    '      7  yesterday',
    'b',
    '   1200  yesterday',
    '(no room for note: --wide shows all)',
  ])
  for (let width = 20; width < 80; width++) {
    for (const { name } of ROWS) assert.match(shown(width), new RegExp(`(^|\\s)${name}(\\s|$)`), `${width}`)
    const widest = Math.max(
      ...shown(width)
        .split('\n')
        .filter((line) => !line.startsWith('('))
        .map(({ length }) => length),
    )
    assert.ok(widest <= Math.max(width, 'a-long-name-that-is-pasted'.length), `${width}: ${widest}`)
  }
})

test('columns that are named come in that order, whatever the width; one that there isn’t is told with those there are', () => {
  assert.deepEqual(shown(10, ['code', ' Last-Seen', 'count']).split('\n'), [
    'CODE                        LAST SEEN  COUNT',
    'A-LONG-NAME-THAT-IS-PASTED  yesterday      7',
    'B                           yesterday   1200',
  ])
  for (const wrong of ['', 'cuont', 'last seen,note']) {
    assert.throws(
      () => shown(undefined, ['name', wrong]),
      (error) =>
        error instanceof ConfigError &&
        error.message === `--columns: there is no column "${wrong}" here; there are count, name, last-seen, note, code`,
    )
  }
  assert.throws(() => table(COLUMNS, [], look(undefined, ['nope'])), ConfigError, 'also where there are no rows')
})

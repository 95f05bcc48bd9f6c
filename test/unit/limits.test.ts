/** docs/limits.md says what the source says, all of it and nothing else. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { AT_BOUND, AT_SETTING, type Bound } from '../../scripts/limits.ts'
import { LIMITS_PAGE, limitsInSource, limitsOf, sourceFiles, withLimitsTables } from '../../scripts/limits-table.ts'
import { METRICS } from '../support/metric-names.ts'

const SRC = new URL('../../src/', import.meta.url)

test('the page is what scripts/limits-table.ts writes', () => {
  const page = readFileSync(LIMITS_PAGE, 'utf8')
  assert.equal(page, withLimitsTables(page), 'node scripts/limits-table.ts --write')
})

test('every constant that is named LIMITS is found, with every property of it', () => {
  const limits = limitsInSource()
  for (const file of sourceFiles()) {
    const text = readFileSync(new URL(file, SRC), 'utf8')
    const constants = [...text.matchAll(/\bconst (\w*LIMITS)\b[^=]*=\s*\{/g)]
    const found = limits.filter((limit) => limit.file === file && /^[a-z]/.test(limit.name))
    if (constants.length > 0) assert.ok(found.length > 0, file)
    // By the running program, where it shows them.
    for (const { 1: name, index } of constants) {
      const body = text.slice(index, text.indexOf('\n}', index))
      const names = [...body.matchAll(/^ {2}(\w+): /gm)].map(([, property]) => property)
      for (const property of names)
        assert.ok(
          found.some((limit) => limit.name === property),
          `${file} ${name}.${property}`,
        )
    }
  }
})

test('values and reasons are read as they stand, over several lines too', () => {
  const text = [
    '/** One for all. */',
    'export const A_MAX = 7',
    'const B_MIN = 2 * 3',
    '',
    'export const X_LIMITS = {',
    '  /** Why. */',
    '  oneMs: 1_000,',
    '  twoBytes: 2 * OTHER.bytes,',
    '  /**',
    '   * Because of this',
    '   * and that.',
    '   */',
    '  three: {',
    '    a: 1,',
    '  },',
    '} as const',
    '',
  ].join('\n')
  assert.deepEqual(
    limitsOf('x.ts', text).map(({ name, value, why }) => [name, value, why]),
    [
      ['oneMs', '1_000', 'Why.'],
      ['twoBytes', '2 * OTHER.bytes', 'Why.'],
      ['three', '{ a: 1, }', 'Because of this and that.'],
      ['A_MAX', '7', 'One for all.'],
      ['B_MIN', '2 * 3', 'One for all.'],
    ],
  )
})

test('the metrics that show a bound exist, and each limit has a reason', () => {
  const bounds: Bound[] = [
    ...Object.values(AT_SETTING),
    ...Object.values(AT_BOUND).flatMap((bound) => [bound, ...Object.values(bound.but ?? {})]),
  ]
  for (const { metric } of bounds) if (metric !== undefined) assert.ok(metric in METRICS, metric)
  const without = limitsInSource().filter(({ why, file }) => why === '' && !file.startsWith('http/dashboard/'))
  assert.deepEqual(
    without.map(({ file, name }) => `${file} ${name}`),
    [],
  )
})

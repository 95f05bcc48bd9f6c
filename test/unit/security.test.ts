/** SECURITY.md names the test that holds each promise: it has to be there, and to be run. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const ROOT = new URL('../../', import.meta.url)

test('every promise of SECURITY.md names a test that exists', () => {
  const text = readFileSync(new URL('SECURITY.md', ROOT), 'utf8')
  const rows = [...text.matchAll(/^\| (.+?) \| `(test\/[\w/.-]+)` \| (.+?) \|$/gm)]
  assert.ok(rows.length >= 40, `${rows.length} rows`)
  for (const [, promise, file, sentence] of rows) {
    const path = new URL(file!, ROOT)
    assert.ok(existsSync(path), `${promise}: ${file} is not there`)
    const names = [...readFileSync(path, 'utf8').matchAll(/^test\((['"])(.*)\1,/gm)].map(([, , name]) => name)
    assert.ok(names.includes(sentence!), `${promise}: ${file} has no test "${sentence}", or skips it`)
  }
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder of the test's own, gone afterwards. */
export function tempDir(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'ft-test-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

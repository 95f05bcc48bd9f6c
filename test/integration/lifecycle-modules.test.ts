/** What the built program loads: the verbs that only read take nothing of the daemon with them, and `--version` next to nothing. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStore } from '../../src/store/open.ts'
import { ONION_KEY_FILE, openOnionKey } from '../../src/tor/key.ts'
import { runVerb } from '../sandbox/tracker.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Writes the URL of every module that is loaded, a line each, to standard error when the process ends. */
const HOOK = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module'
  const urls = []
  registerHooks({ load(url, context, next) { urls.push(url); return next(url, context) } })
  process.on('exit', () => process.stderr.write(urls.map((url) => 'loaded ' + url + '\\n').join('')))
`)}`

/** The modules of ours that a verb loads, as paths below dist/, and the packages. */
async function loadedBy(...args: string[]): Promise<{ code: number; ours: string[]; packages: string[] }> {
  const { code, stderr } = await runVerb(args, { NODE_OPTIONS: `--import ${HOOK}` })
  const urls = [...stderr.matchAll(/^loaded file:\/\/(.*)$/gm)].map(([, url]) => url!)
  const ours = urls.flatMap((url) => /\/dist\/(?!.*node_modules)(.*)$/.exec(url)?.[1] ?? [])
  const packages = urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])
  assert.ok(ours.includes('main.js'), stderr)
  return { code, ours, packages: [...new Set(packages)].sort() }
}

test('a verb that only reads loads SQLite, and no other package, no thread, no door', async () => {
  using dir = tempDir()
  openStore(dir.path, 'regtest').db[Symbol.dispose]()
  openOnionKey(join(dir.path, ONION_KEY_FILE)) // of which "status" tells the address
  const settings = ['--network', 'regtest', '--datadir', dir.path]
  const verbs = ['status', 'bonds', 'makers', 'trackers', 'relays', 'export', 'watches', 'health']
  for (const verb of [...verbs.map((name) => [name]), ['why', `${'a'.repeat(56)}.onion`]]) {
    const { code, ours, packages } = await loadedBy(...verb, ...settings)
    assert.equal(code, verb[0] === 'health' ? 1 : 0, verb[0])
    // Kysely and zod are there, in one file each (scripts/one-file.mjs).
    assert.deepEqual(packages, ['better-sqlite3'], verb[0])
    const ofDaemon = ours.filter((file) => /^(daemon|core|log|indexer|metrics)\.js|^http\/|^chain\/node/.test(file))
    assert.deepEqual(ofDaemon, [], verb[0])
  }
})

// How a shared store's address is written is a setting's business.
test('--version, --help and a usage error load the settings, and no package, database or row', async () => {
  for (const [code, ...args] of [
    [0, '--version'],
    [0, 'bonds', '--help'],
    [2, 'bonds', '--no-such'],
  ] as const) {
    const loaded = await loadedBy(...args)
    assert.equal(loaded.code, code)
    assert.deepEqual(loaded.packages, [], args.join(' '))
    assert.deepEqual(
      loaded.ours.filter((file) => /^(store(?!\/shared\/postgres\/address\.js)|views|peers|watch|bonds)\//.test(file)),
      [],
      args.join(' '),
    )
  }
})

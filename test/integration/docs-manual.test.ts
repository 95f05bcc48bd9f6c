/** The manual says what is so: settings, verbs, exit codes, metrics, alerts, RPC methods, links. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { MANUAL, withSettingsTable } from '../../scripts/settings-table.ts'
import { readTree } from '../../scripts/share/tree.ts'
import { NEEDED_CALLS, OPTIONAL_CALLS } from '../../src/chain/admission.ts'
import { EXIT_CODES } from '../../src/cli/help.ts'
import { BOND_KINDS, bondEventDraft, bondNamed, readEvent } from '../../src/nostr/event.ts'
import { isSigned } from '../../src/nostr/signatures.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { doctor } from '../support/doctor.ts'
import { METRICS } from '../support/metric-names.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const manual = read('docs/operating.md')

/** First cells of the table under the heading. */
function firstCells(text: string, heading: string): string[] {
  const section = text.split(`\n## ${heading}\n`)[1]!.split('\n## ')[0]!
  return [...section.matchAll(/^\| `?([^|`]+?)`? \|/gm)]
    .map(([, cell]) => cell!)
    .filter((cell) => !/^(---|code|verb|alert|metric)$/.test(cell))
}

test('the table of settings is that of the program (else: node scripts/settings-table.ts)', () => {
  assert.equal(readFileSync(MANUAL, 'utf8'), withSettingsTable(manual))
})

test('the manual has every verb and every exit code, and the README the same codes', () => {
  const verbs = readTree().verbs.map(({ name }) => name)
  assert.ok(verbs.length >= 12)
  for (const verb of verbs.filter((name) => name !== 'help'))
    assert.ok(manual.includes(`\`${verb}`), `${verb} is not in the manual`)
  for (const verb of firstCells(manual, 'Verbs')) assert.ok(verbs.includes(verb), `${verb} is no verb`)
  const codes = EXIT_CODES.map(([code]) => String(code))
  assert.deepEqual(firstCells(manual, 'Exit codes'), codes)
  const inReadme = [...read('README.md').matchAll(/^\| (\d+) \|/gm)].map(([, code]) => code)
  assert.deepEqual(inReadme, codes)
})

test('the manual has every metric, and every alert has what to do', () => {
  const table = manual.slice(manual.indexOf('\nEvery metric'))
  const listed = [...table.matchAll(/^\| `(\w+)(?:\{([\w, ]+)\})?` \|/gm)]
    .filter(([, name]) => name! in METRICS)
    .map(([, name, labels]) => [name, labels?.split(', ')])
  const known = Object.entries(METRICS).map(([name, { labels }]) => [name, labels])
  assert.deepEqual(listed.sort(), known.sort())
  const alerts = [...read('deploy/prometheus/alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  assert.deepEqual(firstCells(read('docs/troubleshooting.md'), 'Alerts'), alerts)
})

test('the RPC methods that SECURITY.md allows are enough for daemon and doctor', async () => {
  const paragraph = /^- bitcoind: give the tracker(?:.|\n {2})*/m.exec(read('SECURITY.md'))![0]
  const methods = [...paragraph.matchAll(/`((?:get|wait)\w+)`/g)].map(([, method]) => method!)
  const called = [...NEEDED_CALLS.map(({ method }) => method), ...Object.keys(OPTIONAL_CALLS)]
  assert.deepEqual(methods.toSorted(), called.toSorted())
  const hash = createHmac('sha256', '00ff').update('sesame').digest('hex')
  const node = await Regtest.start({ blocks: 20 })
  await using _node = node
  await node.stop()
  const access = ['-rpcwhitelistdefault=0', `-rpcwhitelist=tracker:${methods.join(',')}`]
  await node.launch([`-rpcauth=tracker:00ff$${hash}`, ...access])
  const env = { FIDELITY_TRACKER_AUTH: 'tracker:sesame' }
  await using tracker = await Tracker.start(node, { cookie: false, env })
  await tracker.caughtUp(node)
  const outpoint = { txid: '11'.repeat(32) as never, vout: 0 }
  await tracker.ask({ type: 'Watch', outpoint }, 'WatchResponse')
  const flags = ['--network', 'regtest', '--no-tor', '--rpc', `127.0.0.1:${node.rpcPort}`]
  const ours = ['--datadir', tracker.dataDir, '--address', `127.0.0.1:${tracker.port}`]
  const { code, findings } = await doctor([...flags, ...ours], { env })
  assert.equal(code, 0, JSON.stringify(findings))
})

test('links between the pages lead somewhere', () => {
  const pages = [
    'README.md',
    'SECURITY.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`),
  ]
  for (const page of pages.filter((name) => name.endsWith('.md'))) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path, anchor] = target!.split('#')
      const file = path === '' ? page : join(dirname(page), path!)
      assert.ok(existsSync(join(ROOT, file)), `${page} → ${target}`)
      if (anchor === undefined) continue
      const text = read(file)
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
        title!
          .toLowerCase()
          .replace(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      )
      const anchors = [...headings, ...[...text.matchAll(/<a id="([\w-]+)">/g)].map(([, id]) => id!)]
      assert.ok(anchors.includes(anchor), `${page} → ${target}`)
    }
  }
})

test('the files and folders that CONTRIBUTING.md names exist', () => {
  const text = read('CONTRIBUTING.md').replace(/^```[\s\S]*?^```$/gm, '')
  const named = [...text.matchAll(/`((?:[\w.-]+\/)+(?:[\w.-]+\.(?:ts|js|sql|sh|md|json|yml))?)`/g)].map(
    ([, path]) => path!,
  )
  // Placeholders, and what is made here and not kept by git.
  const paths = named.filter((path) => !/NNNN|^(\.tools|dist|node_modules|release)\//.test(path))
  assert.ok(paths.length > 50, 'paths are found')
  assert.deepEqual(
    paths.filter((path) => !existsSync(join(ROOT, path)) && !existsSync(join(ROOT, 'src', path))),
    [],
  )
})

test('nostr.md has the kinds of the program, and an event as makers and we make it', () => {
  const page = read('docs/nostr.md')
  const kinds = [...page.matchAll(/^\| (\w+)(?: \(.*\))? \| (\d{5}) \|$/gm)].map(([, network, kind]) => [
    network,
    +kind!,
  ])
  assert.deepEqual(Object.fromEntries(kinds), BOND_KINDS)
  const example = readEvent(JSON.parse(/^```json\n(.*)\n```$/m.exec(page)![1]!))
  assert.ok(example.ok && isSigned(example.event))
  const { kind, created_at, tags, content } = example.event
  assert.deepEqual(bondEventDraft(bondNamed(example.event)!, 'regtest', created_at), {
    kind,
    created_at,
    tags,
    content,
  })
})

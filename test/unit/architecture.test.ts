/**
 * What docs/architecture.md promises of the source as a whole: one name for one thing, imports without a circle, rules that
 * know no edge, and each library in its own place.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { test } from 'node:test'

const SRC = new URL('../../src/', import.meta.url).pathname
const FILES = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!\.d)\.ts$/.test(file))
const sources = new Map(FILES.map((file) => [file, readFileSync(join(SRC, file), 'utf8')]))

interface Import {
  from: string
  /** Gone when the program runs. */
  isTypeOnly: boolean
}

function importsOf(file: string): Import[] {
  const statements = sources.get(file)!.matchAll(/^(?:import|export)\s([^'"]*?)\sfrom\s'([^']+)'|import\('([^']+)'\)/gm)
  return [...statements].map(([, what = '', from, lazily]) => {
    const names = what.startsWith('{') ? what.replace(/[{}]/g, '').split(',') : []
    const isTypeOnly = /^type\s/.test(what) || (names.length > 0 && names.every((name) => /^\s*(type\s|$)/.test(name)))
    return { from: (from ?? lazily)!, isTypeOnly }
  })
}

/** The file of ours that `file` means by `from`; undefined for a package. */
function ours(file: string, from: string): string | undefined {
  return from.startsWith('.') ? normalize(join(file, '..', from)) : undefined
}

test('no two exports have one name', () => {
  const homes = new Map<string, string[]>()
  for (const [file, text] of sources) {
    const names = text.matchAll(/^export (?:async )?(?:const|function\*?|class|interface|type|enum) (\w+)/gm)
    for (const [, name] of names) homes.set(name!, [...(homes.get(name!) ?? []), file])
  }
  assert.ok(homes.size > 300, 'exports are found')
  assert.deepEqual(
    [...homes].filter(([, files]) => files.length > 1),
    [],
  )
})

test('no circle of imports is left when the program runs', () => {
  const state = new Map<string, 'open' | 'done'>()
  const circles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
      return
    }
    state.set(file, 'open')
    for (const { from, isTypeOnly } of importsOf(file)) {
      const next = isTypeOnly ? undefined : ours(file, from)
      if (next !== undefined && sources.has(next)) visit(next, [...path, file])
    }
    state.set(file, 'done')
  }
  for (const file of sources.keys()) visit(file, [])
  assert.deepEqual(circles, [])
})

/** Words and rules: pure, so that they can be told, tested and trusted by themselves. */
const PURE = [
  ...[
    'bonds/',
    'chain/types.ts',
    'chain/plan.ts',
    'chain/decode.ts',
    'chain/outpoint-keys.ts',
    'chain/key-table.ts',
    'chain/following.ts',
  ],
  'store/local/packed-keys.ts',
  ...['store/shared/postgres/address.ts', 'store/shared/postgres/errors.ts', 'store/shared/postgres/schema.ts'],
  ...['chain/block-proof.ts', 'chain/merkle-block.ts', 'chain/answers.ts', 'chain/http-answer.ts'],
  ...[
    'peers/types.ts',
    'nostr/event.ts',
    'nostr/tracker-event.ts',
    'nostr/filters.ts',
    'nostr/door-messages.ts',
    'nostr/nostr-subscription.ts',
    'nostr/frame-progress.ts',
    'nostr/text-frames.ts',
    'peers/reach.ts',
    'peers/attempts.ts',
    'peers/dialects.ts',
    'peers/offer-terms.ts',
    'peers/dial-budget.ts',
    'peers/hints.ts',
    'peers/list-comparison.ts',
    'peers/pick.ts',
    'peers/probe-turns.ts',
    'watch/spend.ts',
    'watch/effort.ts',
    'tor/address.ts',
    'tor/pasted-address.ts',
    'tor/refusals.ts',
    'tor/targets.ts',
    'tor/public-key.ts',
  ],
  ...['wire/cbor.ts', 'wire/shape.ts', 'wire/frame.ts', 'wire/messages.ts', 'wire/rows.ts', 'wire/walk.ts'],
  ...[
    'views/schemas/',
    'views/broken.ts',
    'events/changes.ts',
    'events/flaps.ts',
    'events/crowds.ts',
    'suggest.ts',
    'errors.ts',
    'format.ts',
  ],
]
/** What reaches outside: a file, a socket, a thread, the clock. */
const OUTSIDE =
  /^node:(fs|net|http|https|worker_threads|child_process|timers)|^(better-sqlite3|bitcoin-core|pg|zeromq)$/

test('words and rules touch nothing outside, and know nobody who does', () => {
  const isPure = (file: string) => PURE.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place))
  const reach = (file: string, seen: Set<string>): string[] =>
    importsOf(file).flatMap(({ from, isTypeOnly }) => {
      if (isTypeOnly) return []
      if (OUTSIDE.test(from)) return [`${file} → ${from}`]
      const next = ours(file, from)
      if (next === undefined || seen.has(next)) return []
      seen.add(next)
      return reach(next, seen)
    })
  const pure = FILES.filter(isPure)
  assert.ok(pure.length >= PURE.length)
  for (const file of pure) assert.deepEqual(reach(file, new Set([file])), [], file)
})

test('each library has its place', () => {
  const places: Record<string, RegExp> = {
    'bitcoin-core': /^chain\/client\.ts$/,
    zeromq: /^chain\/zmq\.ts$/,
    'tor-control-ts': /^tor\/control\.ts$/,
    'socks-proxy-agent': /^tor\/socks\.ts$/,
    'better-sqlite3': /^store\//,
    kysely: /^store\//,
    pg: /^store\/shared\/postgres\//,
    fastify: /^http\/server\.ts$/,
    'nostr-tools/wasm': /^nostr\/signatures\.ts$/,
    'nostr-wasm': /^nostr\/signatures\.ts$/,
    ws: /^nostr\//,
    'nostr-tools/filter': /^nostr\/filters\.ts$/,
    'prom-client': /^metrics\.ts$/,
    commander: /^cli\//,
    'smol-toml': /^config\.ts$/,
  }
  for (const [library, place] of Object.entries(places)) {
    const users = FILES.filter((file) => importsOf(file).some(({ from }) => from === library))
    assert.ok(users.length > 0, `${library} is used`)
    assert.deepEqual(
      users.filter((file) => !place.test(file)),
      [],
      library,
    )
  }
})

test('time and chance come from world.ts alone', () => {
  const clock = /(?<!\.)\b(Date\.now|new Date\(\)|Math\.random\(|setTimeout|setInterval|performance\.now)\b/
  const users = FILES.filter((file) => clock.test(sources.get(file)!.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')))
  assert.deepEqual(users, ['world.ts'])
})

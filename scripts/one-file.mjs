/**
 * The build's last step, after tsc: libraries of many small files go into dist/libraries/, each as one file with what is
 * used of it, and what was compiled imports them from there. Node takes a third of a millisecond and some 60 kB of memory
 * for every file of ES modules: kysely alone is 255 of them, more than half of what `status` would take in all. They are
 * devDependencies, then: nobody who installs the package gets them a second time, nor what they depend on, in versions
 * that our `overrides` don't reach there. What is in the files, dist/libraries/packages.json tells.
 */
import { readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

/** Each imports Node's modules alone beside its own and those of other libraries in JavaScript. */
const LIBRARIES = [
  'bitcoin-core',
  'bitcoinjs-lib',
  '@noble/curves/ed25519.js',
  '@noble/curves/secp256k1.js',
  '@scure/bip32',
  'commander',
  'kysely',
  'nostr-tools/filter',
  'nostr-tools/wasm',
  'smol-toml',
  'zod',
]

/** Modules in whose place stands something else, by the end of their path. */
const INSTEAD = {
  // zod's messages in fifty languages, a third of it; English is apart.
  '/zod/v4/locales/index.js': 'export {}',
  // bitcoin-core's own transport, a hundred files: chain/client.ts puts ours in its place before anything is asked.
  '/bitcoin-core/src/logging/request-logger.js':
    'const none = () => {}; module.exports = () => ({ defaults: () => ({ get: none, post: none }) })',
}

const DIST = fileURLToPath(new URL('../dist/', import.meta.url))
const FOLDER = join(DIST, 'libraries')
/** Paths in comments are from here on: the same wherever the build is. */
const PACKAGES = realpathSync(fileURLToPath(new URL('../node_modules/', import.meta.url)))

const entryOf = (library) => library.replace(/^@|\.js$/g, '').replaceAll('/', '-')
/** What stands for a library in the bundle: what is used of it. */
const used = new Map(LIBRARIES.map((library) => [`used:${library}`, pointTo(library)]))
const bundle = await rolldown({
  input: Object.fromEntries(LIBRARIES.map((library) => [entryOf(library), `used:${library}`])),
  platform: 'node',
  cwd: PACKAGES,
  plugins: [
    {
      name: 'what-is-used',
      resolveId: (id) => (used.has(id) ? id : null),
      load(id) {
        const instead = Object.keys(INSTEAD).find((end) => id.endsWith(end))
        return used.get(id) ?? INSTEAD[instead] ?? null
      },
    },
  ],
})
const { output } = await bundle.write({ dir: FOLDER, format: 'esm', chunkFileNames: '[name].js' })
await bundle.close()
for (const { fileName, moduleIds } of output) {
  const path = join(FOLDER, fileName)
  writeFileSync(path, `${licencesOf(moduleIds)}\n${readFileSync(path, 'utf8')}`)
}
const manifests = foldersOf(output.flatMap(({ moduleIds }) => moduleIds)).map(manifestOf)
const versions = Object.fromEntries(
  manifests.map(({ name, version }) => [name, version]).sort(([a], [b]) => (a < b ? -1 : 1)),
)
writeFileSync(join(FOLDER, 'packages.json'), `${JSON.stringify(versions, null, 2)}\n`)

/** Has all that was compiled import the library from its file; returns a module that exports what is imported. */
function pointTo(library) {
  const imports = new RegExp(`^import (?:(\\w+)|\\{([^}]+)\\}) from '${library}';$`, 'gm')
  const names = new Set()
  for (const name of readdirSync(DIST, { recursive: true }).filter((name) => name.endsWith('.js'))) {
    const path = join(DIST, name)
    const text = readFileSync(path, 'utf8')
    const from = relative(dirname(path), join(FOLDER, `${entryOf(library)}.js`))
    const pointed = text.replace(imports, (_, whole, parts = '') => {
      if (whole !== undefined) names.add('default')
      for (const [, name] of parts.matchAll(/(\w+)(?: as \w+)?/g)) names.add(name)
      return `import ${whole ?? `{${parts}}`} from '${from.startsWith('.') ? from : `./${from}`}';`
    })
    if (pointed.includes(`'${library}'`)) throw new Error(`${name} imports ${library} otherwise than whole or by names`)
    if (pointed !== text) writeFileSync(path, pointed)
  }
  return `export { ${[...names].sort().join(', ')} } from '${library}'`
}

/** The folders of the packages that some modules are of, each once. */
function foldersOf(moduleIds = []) {
  const folders = moduleIds.map((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0])
  return [...new Set(folders)].filter(Boolean)
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

/** The licences of the packages that some modules are of, as one comment. */
function licencesOf(moduleIds) {
  const texts = foldersOf(moduleIds).map((folder) => {
    const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name))
    const terms = file === undefined ? manifestOf(folder).license : ''
    return `${relative(PACKAGES, folder)}\n${file === undefined ? terms : readFileSync(join(folder, file), 'utf8').trim()}`
  })
  return `/*!\n${texts.join('\n\n').replaceAll('*/', '* /')}\n*/`
}

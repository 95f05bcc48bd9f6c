/**
 * The build's last step, after tsc: libraries of many small files go into dist/libraries/, each as one file with what is
 * used of it, and what was compiled imports them from there. Node takes a third of a millisecond and some 60 kB of memory
 * for every file of ES modules: kysely alone is 255 of them, more than half of what `status` would take in all.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

/** Libraries of ES modules that import Node's alone beside their own. `empty`: modules that nothing here needs. */
const LIBRARIES = [
  { name: 'commander' },
  { name: 'kysely' },
  { name: 'smol-toml' },
  { name: 'zod', empty: /zod\/v4\/locales\/index\.js$/ }, // a third of it: its messages in fifty languages; English is apart
]

const DIST = fileURLToPath(new URL('../dist/', import.meta.url))
const PACKAGES = fileURLToPath(new URL('../node_modules/', import.meta.url))

for (const library of LIBRARIES) {
  const file = join(DIST, 'libraries', `${library.name}.js`)
  await putInOneFile(library, pointTo(library.name, file), file)
}

/** Has all that was compiled import the library from `file`; returns the names that are imported. */
function pointTo(library, file) {
  const imports = new RegExp(`^import \\{([^}]+)\\} from '${library}';$`, 'gm')
  const names = new Set()
  for (const name of readdirSync(DIST, { recursive: true }).filter((name) => name.endsWith('.js'))) {
    const path = join(DIST, name)
    const text = readFileSync(path, 'utf8')
    const from = relative(dirname(path), file)
    const pointed = text.replace(imports, (_, imported) => {
      for (const [, name] of imported.matchAll(/(\w+)(?: as \w+)?/g)) names.add(name)
      return `import {${imported}} from '${from.startsWith('.') ? from : `./${from}`}';`
    })
    if (pointed.includes(`'${library}'`)) throw new Error(`${name} imports ${library} otherwise than by names`)
    if (pointed !== text) writeFileSync(path, pointed)
  }
  return [...names].sort()
}

/** What `names` need of the library, under its licence. */
async function putInOneFile({ name, empty }, names, file) {
  const entry = 'what-is-used'
  const bundle = await rolldown({
    input: entry,
    platform: 'node',
    external: /^node:/,
    plugins: [
      {
        name: 'what-is-used',
        resolveId: (id) => (id === entry ? id : null),
        load(id) {
          if (id === entry) return `export { ${names.join(', ')} } from '${name}'`
          return empty?.test(id) ? 'export {}' : null
        },
      },
    ],
    cwd: PACKAGES,
  })
  const licence = readFileSync(join(PACKAGES, name, 'LICENSE'), 'utf8').trim()
  await bundle.write({ file, format: 'esm', postBanner: `/*!\n${licence}\n*/` })
  await bundle.close()
}

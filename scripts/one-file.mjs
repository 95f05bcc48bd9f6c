/**
 * The build's last step, after tsc: libraries of many small files go into dist/libraries/, each into one file, and what
 * was compiled imports them from there. Node takes a third of a millisecond and some 60 kB of memory for every file of ES
 * modules: kysely alone is 255 of them, more than half of what `status` would take in all.
 *
 * tsc does what needs a parser: it makes of every module of the library a function of `exports` and `require`, as for
 * CommonJS. Here these are put side by side, with the licence above them. Versions are those of package-lock.json.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Libraries of ES modules that import Node's alone beside their own. `empty`: the module that nobody needs anything of, nor of what it alone leads to. */
const LIBRARIES = [
  { name: 'commander' },
  { name: 'kysely' },
  { name: 'smol-toml' },
  { name: 'zod', empty: 'v4/locales/index.js' }, // a third of it: its messages in fifty languages; English is apart
]

const DIST = fileURLToPath(new URL('../dist/', import.meta.url))
const PACKAGES = fileURLToPath(new URL('../node_modules/', import.meta.url))

mkdirSync(join(DIST, 'libraries'), { recursive: true })
for (const library of LIBRARIES) {
  const file = join(DIST, 'libraries', `${library.name}.js`)
  writeFileSync(file, inOneFile(library, pointTo(library.name, file)))
}

/** Has all that was compiled import the library from `file`; returns the names that are imported. */
function pointTo(library, file) {
  const imports = new RegExp(`^import \\{([^}]+)\\} from '${library}';$`, 'gm')
  const names = new Set()
  for (const name of scriptsIn(DIST)) {
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

/** The modules that the library's entry leads to, as one module that exports `names`. */
function inOneFile({ name: library, empty }, names) {
  const entryPath = fileURLToPath(import.meta.resolve(library))
  const entry = relative(dirname(entryPath), entryPath)
  const work = mkdtempSync(join(tmpdir(), 'one-file-'))
  try {
    // Without its package.json and types, for which tsc would leave the modules as they are.
    const source = join(work, 'source')
    cpSync(dirname(entryPath), source, {
      recursive: true,
      filter: (path) => !/\.d\.[cm]?ts$|package\.json$/.test(path),
    })
    if (empty) writeFileSync(join(source, empty), 'export {}\n')
    const made = join(work, 'made')
    const options = ['--allowJs', '--noCheck', '--removeComments', '--target', 'es2023', '--module', 'commonjs']
    const places = ['--moduleResolution', 'bundler', '--rootDir', source, '--outDir', made]
    const tsc = join(PACKAGES, 'typescript/bin/tsc')
    execFileSync(process.execPath, [tsc, '--ignoreConfig', ...options, ...places, join(source, entry)])
    const modules = scriptsIn(made).map(
      (name) => `'${name}'(exports, require) {\n${readFileSync(join(made, name), 'utf8')}},\n`,
    )
    const licence = readFileSync(join(PACKAGES, library, 'LICENSE'), 'utf8').trim()
    return `/*!\n${licence}\n*/
const modules = {
${modules.join('')}}
const loaded = new Map()
function load(name) {
  let exports = loaded.get(name)
  if (!exports) {
    loaded.set(name, (exports = {}))
    const inLibrary = (to) => load(new URL(to, \`file:///\${name}\`).pathname.slice(1))
    modules[name](exports, (to) => (to.startsWith('.') ? inLibrary(to) : process.getBuiltinModule(to)))
  }
  return exports
}
export const { ${names.join(', ')} } = load('${entry}')
`
  } finally {
    rmSync(work, { recursive: true })
  }
}

/** Paths of the JavaScript below `folder`, in the same order everywhere. */
function scriptsIn(folder) {
  const names = readdirSync(folder, { recursive: true })
  return names.filter((name) => name.endsWith('.js')).sort()
}

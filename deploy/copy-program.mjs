/**
 * Copies the built program as it is installed: node deploy/copy-program.mjs FROM TO [ARCH]. Of node_modules/ what the lock
 * file says running needs (all of it where there is no lock file: npm has installed it), and of these packages what Node
 * reads and their licences: no tests, sources of native code, type declarations or source maps, and nothing that was
 * compiled for other systems than Linux with glibc on ARCH (x64, arm64; else this machine's). Node itself, man page and
 * completions are for whoever calls this.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, relative } from 'node:path'

const [from, to, arch = process.arch] = process.argv.slice(2)
if (to === undefined) {
  process.stderr.write('usage: copy-program.mjs FROM TO [ARCH]\n')
  process.exit(2)
}

const OURS = ['migrations', 'docs', 'package.json', 'torrc.example', 'LICENSE', 'CHANGELOG.md']
/** Names of files in a package that are read, by Node or, the licences, by people; and of folders on its top that aren't. */
const READ = /^[^.].*\.(?:[cm]?js|json|node|wasm|css)$|^(?:licen[cs]e|copying|notice)/i
const UNREAD = /^(?:tests?|benchmarks?|examples?|integration|spec)(?:\/|$)/
/** In the path of a file that was compiled for another system. */
const ELSEWHERE = new RegExp(`darwin|win32|musl|${arch === 'arm64' ? 'x64' : 'arm64'}|ia32`)

mkdirSync(to, { recursive: true })
for (const name of OURS) cpSync(join(from, name), join(to, name), { recursive: true })
cpSync(join(from, 'dist'), join(to, 'dist'), {
  recursive: true,
  filter: (path) => !path.endsWith('.map') && path !== join(from, 'dist/share'),
})

const lock = join(from, 'package-lock.json')
const packages = existsSync(lock) ? JSON.parse(readFileSync(lock, 'utf8')).packages : { node_modules: {} }
for (const [path, { dev }] of Object.entries(packages)) {
  // What is optional may not be there.
  if (!path.startsWith('node_modules') || dev === true || !existsSync(join(from, path))) continue
  cpSync(join(from, path), join(to, path), {
    recursive: true,
    filter: (file) => {
      const name = relative(join(from, path), file)
      if (statSync(file).isDirectory()) {
        // A package below another has an entry of its own.
        return !UNREAD.test(name) && (path === 'node_modules' || basename(file) !== 'node_modules' || name === '')
      }
      return READ.test(basename(file)) && !(name.endsWith('.node') && ELSEWHERE.test(name))
    },
  })
}

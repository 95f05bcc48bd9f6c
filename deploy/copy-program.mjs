/**
 * Copies the built program as it is installed: node deploy/copy-program.mjs FROM TO [ARCH]. Of node_modules/ what the lock
 * file says running needs (all of it where there is no lock file: npm has installed it), and of these packages neither
 * tests, sources of native code, type declarations and source maps, nor what was compiled for other systems than Linux
 * with glibc on ARCH (x64, arm64; else this machine's). Node itself, man page and completions are for whoever calls this.
 */
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'

const [from, to, arch = process.arch] = process.argv.slice(2)
if (to === undefined) {
  process.stderr.write('usage: copy-program.mjs FROM TO [ARCH]\n')
  process.exit(2)
}

const OURS = ['migrations', 'docs', 'package.json', 'torrc.example', 'LICENSE', 'CHANGELOG.md']
/** In a package, its tests and what its makers need; anywhere in it, what Node doesn't read. */
const UNREAD = /^(?:tests?|benchmarks?|examples?|\.github)$|\.(?:map|[cm]?ts|tsbuildinfo|cc|cpp|c|h|hpp|gyp|gypi)$/
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
  // A package below another has an entry of its own.
  const isBelow = (name) => path !== 'node_modules' && name.split(sep).includes('node_modules')
  const isRead = (name) => !UNREAD.test(name) && !(name.endsWith('.node') && ELSEWHERE.test(name))
  cpSync(join(from, path), join(to, path), {
    recursive: true,
    filter: (file) => {
      const name = relative(join(from, path), file)
      return !isBelow(name) && isRead(name)
    },
  })
}

/**
 * The program before it was made fast, built from its commit: what "before" means in the tables. Needs the repository's
 * history. Built once into `.tools/before`.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = new URL('../..', import.meta.url).pathname
const COMMIT = '89094b3834934935976c3378678393c25e156275'

/** Path of its main.js. Throws where the history, or one of its packages, is not there. */
export function programBefore(): string {
  const dir = join(process.env.SANDBOX_TOOLS ?? join(ROOT, '.tools'), 'before', COMMIT)
  if (!existsSync(dir)) build(dir)
  return join(dir, 'dist', 'main.js')
}

function build(dir: string): void {
  const making = `${dir}.making`
  rmSync(making, { recursive: true, force: true })
  mkdirSync(making, { recursive: true })
  try {
    const tree = execFileSync('git', ['-C', ROOT, 'archive', COMMIT], { maxBuffer: 100_000_000 })
    execFileSync('tar', ['-x', '-C', making], { input: tree })
  } catch (error) {
    throw new Error(`commit ${COMMIT} is not in this repository: clone it with its history`, { cause: error })
  }
  if (Object.entries(packagesOf(making)).every(([name, version]) => packagesOf(ROOT)[name] === version))
    symlinkSync(join(ROOT, 'node_modules'), join(making, 'node_modules'))
  else execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: making, stdio: 'inherit' })
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: making, stdio: 'inherit' })
  renameSync(making, dir)
}

/** Versions by place, as the lockfile has them. */
function packagesOf(folder: string): Record<string, string | undefined> {
  const { packages } = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version?: string }>
  }
  return Object.fromEntries(Object.entries(packages).map(([place, { version }]) => [place, version]))
}

/**
 * The package as it would be published, of the last commit: what is in the tarball of a fresh clone and what is not, that
 * it comes out the same each time, that npm installs it and what it installs runs, and what release.sh refuses.
 */
import assert from 'node:assert/strict'
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  accessSync,
  appendFileSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { tempDir } from '../support/temp-dir.ts'

const ROOT = new URL('../../', import.meta.url).pathname

/** A fresh clone with the packages that are installed here, and nothing built. */
function freshClone(): Disposable & { path: string; run: (...command: string[]) => SpawnSyncReturns<string> } {
  const dir = tempDir()
  const path = join(dir.path, 'clone')
  const gitConfig = join(dir.path, 'gitconfig')
  writeFileSync(gitConfig, '[safe]\n\tdirectory = *\n[user]\n\tname = test\n\temail = test@localhost\n')
  const env = { ...process.env, GIT_CONFIG_GLOBAL: gitConfig, npm_config_offline: 'true' }
  const runIn = (cwd: string, [program, ...args]: string[]) => spawnSync(program!, args, { cwd, env, encoding: 'utf8' })
  const cloned = runIn(dir.path, ['git', 'clone', '--quiet', '--no-tags', ROOT, path])
  assert.equal(cloned.status, 0, cloned.stderr)
  symlinkSync(join(ROOT, 'node_modules'), join(path, 'node_modules'))
  appendFileSync(join(path, '.git/info/exclude'), '/node_modules\n') // .gitignore knows it as a folder
  return { path, run: (...command) => runIn(path, command), [Symbol.dispose]: () => dir[Symbol.dispose]() }
}

const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')
const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

test('npm pack in a fresh clone: built, complete, without sources, tests or secrets; the same each time', () => {
  process.umask(0o022)
  using clone = freshClone()
  using out = tempDir()
  const { name, version } = manifestOf(clone.path)
  const tarball = join(out.path, `${name}-${version}.tgz`)
  // What a used clone may have beside what git knows.
  writeFileSync(join(clone.path, 'deploy/.env'), 'POSTGRES_PASSWORD=secret\n')
  assert.equal(existsSync(join(clone.path, 'dist')), false)
  const pack = () => {
    const { status, stderr } = clone.run('npm', 'pack', '--pack-destination', out.path)
    assert.equal(status, 0, stderr)
    return sha256(tarball)
  }
  const sum = pack()
  assert.equal(pack(), sum, 'a second time, with dist/ there')

  assert.equal(spawnSync('tar', ['-xzf', tarball, '-C', out.path]).status, 0)
  const unpacked = join(out.path, 'package')
  assert.deepEqual(readdirSync(unpacked).sort(), [
    ...['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'deploy', 'dist'],
    ...['docs', 'migrations', 'package.json', 'torrc.example'],
  ])
  const files = readdirSync(unpacked, { recursive: true, encoding: 'utf8' })
  assert.deepEqual(
    files.filter((file) => /\.env$|\.map$|\.test\.|(?<!\.d)\.ts$/.test(file)),
    [],
  )
  for (const folder of ['migrations', 'docs']) {
    assert.deepEqual(readdirSync(join(unpacked, folder)), readdirSync(join(clone.path, folder)))
  }
  assert.ok(files.includes('dist/http/dashboard/index.html'))

  // In other folders, by release.sh, whose tree must be clean: deploy/.env and dist/ are ignored.
  const dry = clone.run('scripts/release.sh', '--dry-run', '--without-deb', version)
  assert.equal(dry.status, 0, dry.stderr)
  assert.ok(dry.stdout.startsWith(`${sum}  ${name}-${version}.tgz\n`), dry.stdout)
})

test('installed from the tarball by the lowest Node: nothing abandoned comes along, and it runs there and on this Node', async () => {
  const lowest = process.env.LOWEST_NODE
  assert.ok(lowest, 'LOWEST_NODE names no program: scripts/test.sh brings it')
  using clone = freshClone()
  using out = tempDir()
  const { name, version } = manifestOf(clone.path)
  const packed = clone.run('npm', 'pack', '--pack-destination', out.path)
  assert.equal(packed.status, 0, packed.stderr)
  // As anybody installs it: versions are npm's choice, and our `overrides` say nothing there.
  const npm = (...args: string[]) =>
    spawnSync('npm', [...args, '--global', '--prefix', out.path], {
      cwd: out.path,
      env: { ...process.env, PATH: `${dirname(lowest)}:${process.env.PATH}`, npm_config_engine_strict: 'true' },
      encoding: 'utf8',
    })
  const installed = npm('install', '--ignore-scripts', '--loglevel=error', join(out.path, `${name}-${version}.tgz`))
  assert.equal(installed.status, 0, installed.stderr)
  const tree = npm('ls', '--all', '--parseable', '--loglevel=error')
  assert.equal(tree.status, 0, `what is there is not what is asked for: ${tree.stdout}${tree.stderr}`)
  const folders = tree.stdout.trim().split('\n')
  assert.ok(
    folders.some((folder) => folder.endsWith('/node_modules/zeromq')),
    tree.stdout,
  )
  assert.deepEqual(
    folders.filter((folder) => /\/(bitcoin-core|request|tough-cookie|uuid|kysely)$/.test(folder)),
    [],
  )

  const home = join(out.path, 'lib/node_modules', name)
  const main = join(home, manifestOf(home).bin[name])
  accessSync(main, constants.X_OK)
  await using node = await Regtest.start({ blocks: 5 })
  for (const program of [lowest, process.execPath]) {
    const asked = (...args: string[]) => spawnSync(program, [main, ...args], { cwd: '/', encoding: 'utf8' })
    assert.deepEqual([asked('--version').status, asked('--version').stdout], [0, `${version}\n`], program)
    assert.match(asked('print-torrc').stdout, /^ControlPort 127\.0\.0\.1:9051$/m)
    await using tracker = await Tracker.start(node, { main, node: program, http: true })
    await tracker.caughtUp(node)
    assert.deepEqual(await tracker.addresses(), [])
    const plots = await fetch(`http://127.0.0.1:${tracker.httpPort}/assets/uplot.js`)
    assert.deepEqual([plots.status, plots.headers.get('content-type')], [200, 'text/javascript; charset=utf-8'])
    const nodeOfIt = ['--network', 'regtest', '--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile]
    const { stdout } = asked('doctor', '--no-tor', '--datadir', tracker.dataDir, ...nodeOfIt)
    assert.match(stdout, /^✓ bitcoind /m)
  }
})

test('release.sh: nothing is kept of a dry run, and what is not ready is refused', () => {
  using clone = freshClone()
  const { version } = manifestOf(clone.path)
  const release = (...args: string[]) => clone.run('scripts/release.sh', '--dry-run', '--without-deb', ...args)
  const refused = (why: RegExp, ...args: string[]) => {
    const { status, stdout, stderr } = release(...args)
    assert.deepEqual([status, stdout], [1, ''], args.join(' '))
    assert.match(stderr, why)
  }
  refused(/which version/)
  refused(/is no version/, 'v1.0.0')
  refused(/is no version/, '1.0')
  refused(/is older than package\.json's/, '0.0.1')
  refused(/is older than package\.json's/, `${version}-rc.1`)
  refused(/CHANGELOG\.md has no section "## 99\.0\.0"/, '99.0.0')
  appendFileSync(join(clone.path, 'CHANGELOG.md'), '\n## 99.0.0\n\n## 98.0.0-rc.1 (some day)\n\n- Something.\n')
  refused(/the work tree is not clean/, '98.0.0-rc.1')
  assert.equal(clone.run('git', 'commit', '--quiet', '-am', 'Changelog').status, 0)
  refused(/CHANGELOG\.md has no section "## 99\.0\.0"/, '99.0.0')

  const made = release('98.0.0-rc.1')
  assert.equal(made.status, 0, made.stderr)
  assert.match(made.stdout, /^[0-9a-f]{64} {2}fidelity-tracker-98\.0\.0-rc\.1\.tgz\n[0-9a-f]{64} {2}\S+\.cdx\.json\n$/)
  // From the tag, which is of a later commit, both come out the same again; what comes after it is another release.
  assert.equal(clone.run('npm', 'version', '--no-git-tag-version', '98.0.0-rc.1').status, 0)
  const commit = ['git', 'commit', '--quiet', '-am', 'Release']
  assert.equal(clone.run('env', 'GIT_COMMITTER_DATE=2031-01-01T00:00:00Z', ...commit).status, 0)
  assert.equal(clone.run('git', 'tag', 'v98.0.0-rc.1').status, 0)
  assert.equal(release('98.0.0-rc.1').stdout, made.stdout)
  assert.equal(clone.run('git', 'status', '--porcelain', '--ignored=no').stdout, '')
  assert.equal(existsSync(join(clone.path, 'release')), false)
  assert.equal(clone.run('git', 'commit', '--quiet', '--allow-empty', '-m', 'Later').status, 0)
  refused(/is tagged already/, '98.0.0-rc.1')
})

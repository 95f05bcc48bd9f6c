/**
 * A Debian 12 that has next to nothing: the .deb there, installed, run, upgraded, removed and purged; and install.sh from a
 * fresh clone, which brings Node and builds. Made by root alone (debootstrap, chroot); systemd isn't there.
 */
import assert from 'node:assert/strict'
import { execFileSync, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { freePorts } from '../sandbox/ports.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { tempDir } from '../support/temp-dir.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const isRoot = process.getuid?.() === 0
const DATA = 'var/lib/fidelity-tracker'
const SETTINGS = 'etc/fidelity-tracker.toml'

const work = tempDir()
after(() => work[Symbol.dispose]())
const debian = join(work.path, 'debian')
const npmCache = execFileSync('npm', ['config', 'get', 'cache', '--loglevel=error'], { encoding: 'utf8' }).trim()
const at = (path: string) => join(debian, path)

/** What runs a command in that Debian, in namespaces of its own for mounts and processes, with our folder at /mnt and npm's cache. */
function within(command: string[], env: Record<string, string>): [string[], { env: NodeJS.ProcessEnv; cwd: string }] {
  const mounts = [
    `mount -t proc proc ${debian}/proc`,
    `mount --rbind /dev ${debian}/dev`,
    `mount --bind ${work.path} ${debian}/mnt`,
    `mount --bind ${npmCache} ${debian}/npm-cache`,
  ].join(' && ')
  const shell = `${mounts} && exec chroot ${debian} "$@"`
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  const args = ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', shell, 'sh', ...command]
  const all = { PATH: path, HOME: '/root', LANG: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive', ...env }
  return [args, { env: all, cwd: '/' }]
}
function inside(command: string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
  const [[program, ...args], options] = within(command, env)
  return spawnSync(program!, args, { ...options, encoding: 'utf8', input: '' })
}
function done(command: string[], env: Record<string, string> = {}): string {
  const { status, stdout, stderr } = inside(command, env)
  assert.equal(status, 0, `${command.join(' ')}: ${stdout}${stderr}`)
  return stdout
}
const apt = (...args: string[]) => done(['apt-get', '-qq', '--yes', '--no-install-recommends', ...args])
const asUser = (...args: string[]) => ['runuser', '-u', 'fidelity-tracker', '--', 'fidelity-tracker', ...args]

function startDebian(): void {
  if (existsSync(debian)) return
  assert.ok(process.env.DEBIAN_BASE, 'DEBIAN_BASE names no tarball: scripts/test.sh makes it')
  mkdirSync(debian)
  execFileSync('tar', ['-xf', process.env.DEBIAN_BASE, '-C', debian])
  mkdirSync(at('npm-cache'))
  writeFileSync(at('usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 }) // no service is started
  apt('update')
}

function makePackage(name: string): string {
  const folder = join(work.path, name)
  mkdirSync(folder)
  const { status, stdout, stderr } = spawnSync(join(ROOT, 'scripts/deb.sh'), ['--fast', folder], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  return stdout.trim()
}

let made: string | undefined
const thePackage = () => (made ??= makePackage('package'))

/** The same package of an earlier version, which had a file that this one lacks. */
function earlierPackage(file: string): string {
  const folder = join(work.path, 'earlier')
  execFileSync('dpkg-deb', ['-R', file, folder])
  const control = readFileSync(join(folder, 'DEBIAN/control'), 'utf8')
  writeFileSync(join(folder, 'DEBIAN/control'), control.replace(/^Version: .*$/m, 'Version: 0.0.1-1'))
  writeFileSync(join(folder, 'usr/lib/fidelity-tracker/dist/earlier.js'), '')
  execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', folder, join(work.path, 'earlier.deb')])
  rmSync(folder, { recursive: true })
  return '/mnt/earlier.deb'
}

/** Every path of that Debian with its mode, but for what dpkg, apt and the programs that add users keep for themselves. */
function snapshot(): string[] {
  // Not Node's own list, which goes through links: /var/run is one, and leads to this machine's /run.
  const paths = execFileSync('find', [debian, '-xdev', '-mindepth', '1', '-printf', '%P\\t%m %l\\n'], {
    encoding: 'utf8',
  })
  const kept =
    /^(dev|proc|sys|mnt|npm-cache|tmp|var\/(cache|log)|var\/lib\/(apt|dpkg|systemd))\/|^etc\/(sub[ug]id|passwd|group|g?shadow|\.pwd)/
  return paths
    .trim()
    .split('\n')
    .filter((line) => !kept.test(line))
    .sort()
}

test('the package is the same each time, and lintian finds no error in it', { skip: !isRoot }, () => {
  const sum = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')
  const file = thePackage()
  assert.equal(
    file,
    join(work.path, `package/fidelity-tracker_${version}-1_${process.arch === 'x64' ? 'amd64' : 'arm64'}.deb`),
  )
  assert.equal(sum(makePackage('again')), sum(file))
  const { status, stdout } = spawnSync('lintian', ['--fail-on', 'error', '--tag-display-limit', '0', file], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout)
})

test('the package: installed, upgraded, removed and purged; it runs as its user', {
  skip: !isRoot,
}, async () => {
  startDebian()
  apt('install', 'tor', 'adduser')
  const before = snapshot()
  const file = thePackage()
  apt('install', earlierPackage(file))
  const [, uid, gid] = /^fidelity-tracker:x:(\d+):(\d+):.*:\/var\/lib\/fidelity-tracker:\/usr\/sbin\/nologin$/m.exec(
    readFileSync(at('etc/passwd'), 'utf8'),
  )!
  const ownerOf = (path: string) => [statSync(at(path)).mode & 0o777, statSync(at(path)).uid, statSync(at(path)).gid]
  assert.deepEqual(ownerOf(DATA), [0o700, Number(uid), Number(gid)])
  assert.deepEqual(ownerOf(SETTINGS), [0o640, 0, Number(gid)])
  assert.match(readFileSync(at('etc/group'), 'utf8'), /^debian-tor:x:\d+:fidelity-tracker$/m)
  const unit = readFileSync(at('usr/lib/systemd/system/fidelity-tracker.service'), 'utf8')
  for (const [, path] of unit.matchAll(/^(?:ExecStart=|Documentation=file:\/\/)\/(\S+)/gm)) {
    assert.ok(existsSync(at(path!)), path)
  }
  assert.ok(lstatSync(at('etc/systemd/system/multi-user.target.wants/fidelity-tracker.service')).isSymbolicLink())

  assert.equal(done(asUser('--version')), `${version}\n`)
  const [port, httpPort, nostrPort] = await freePorts(3)
  const env = {
    FIDELITY_TRACKER_NETWORK: 'regtest',
    FIDELITY_TRACKER_ADDRESS: `127.0.0.1:${port}`,
    FIDELITY_TRACKER_HTTP: `127.0.0.1:${httpPort}`,
    FIDELITY_TRACKER_NOSTR: `127.0.0.1:${nostrPort}`,
  }
  assert.match(done(asUser('print-config'), env), /^control-port = "unix:\/run\/tor\/control" {2}# file$/m)
  assert.notEqual(inside(asUser('health', '--live'), env).status, 0, 'it is not started yet')
  const [[program, ...args], options] = within(asUser('start'), env)
  // The kernel ends it with us, however we end.
  const daemon = spawn('setpriv', ['--pdeathsig', 'KILL', program!, ...args], { ...options, stdio: 'ignore' })
  try {
    await waitUntil('it lives', () => inside(asUser('health', '--live'), env).status === 0)
  } finally {
    daemon.kill('SIGKILL')
    await once(daemon, 'exit')
  }

  writeFileSync(at(SETTINGS), `${readFileSync(at(SETTINGS), 'utf8')}# mine\n`)
  writeFileSync(at(`${DATA}/onion.key`), 'key')
  apt('install', `/mnt/package/${file.split('/').pop()}`)
  assert.equal(existsSync(at('usr/lib/fidelity-tracker/dist/earlier.js')), false)
  assert.match(readFileSync(at(SETTINGS), 'utf8'), /^# mine$/m)
  assert.deepEqual(ownerOf(SETTINGS), [0o640, 0, Number(gid)])
  assert.equal(done(asUser('--version')), `${version}\n`)

  apt('remove', 'fidelity-tracker')
  assert.equal(existsSync(at('usr/bin/fidelity-tracker')), false)
  assert.equal(readFileSync(at(`${DATA}/onion.key`), 'utf8'), 'key')
  const purged = inside(['dpkg', '--purge', 'fidelity-tracker'])
  assert.deepEqual([purged.status, /the onion key: the address is lost for ever/.test(purged.stderr)], [0, true])
  assert.doesNotMatch(readFileSync(at('etc/passwd'), 'utf8') + readFileSync(at('etc/group'), 'utf8'), /fidelity/)
  assert.deepEqual(snapshot(), before)
})

test('install.sh from a fresh clone, where there is no Node: it brings one, builds and installs; the package waits', {
  skip: !isRoot,
}, () => {
  startDebian()
  apt('install', 'tor', 'adduser', 'wget')
  const gitConfig = join(work.path, 'gitconfig')
  writeFileSync(gitConfig, '[safe]\n\tdirectory = *\n')
  const clone = join(work.path, 'clone')
  execFileSync('git', ['clone', '--quiet', ROOT, clone], { env: { ...process.env, GIT_CONFIG_GLOBAL: gitConfig } })
  // The registry and whose certificates it has are this machine's.
  const certificates = 'etc/ssl/certs/ca-certificates.crt'
  cpSync(join('/', certificates), at(certificates))
  if (existsSync(join(homedir(), '.npmrc'))) cpSync(join(homedir(), '.npmrc'), at('root/.npmrc'))
  const { npm_config_registry: registry } = process.env
  const env = {
    NODE_EXTRA_CA_CERTS: join('/', certificates),
    npm_config_cache: '/npm-cache',
    npm_config_prefer_offline: 'true',
    ...(registry !== undefined && { npm_config_registry: registry }),
  }
  const script = '/mnt/clone/deploy/install.sh'
  const installed = done([script, '--yes', '--network', 'regtest'], env)
  assert.match(
    installed,
    /1\. bring Node \S+ and npm \S+ from \S+, checked by SHA-512, to \/mnt\/clone\/\.tools\/node-/,
  )
  assert.match(installed, /2\. as root, build it in \/mnt\/clone: npm ci --ignore-scripts && npm run build/)
  assert.equal(done(asUser('--version')), `${version}\n`)
  assert.match(done(asUser('print-config')), /^network = "regtest" {2}# file$/m)

  const both = inside(['dpkg', '-i', `/mnt/package/${thePackage().split('/').pop()}`])
  assert.notEqual(both.status, 0)
  assert.match(both.stderr, /install\.sh has installed it in \/opt\/fidelity-tracker\. Take that away first/)
  done([script, '--uninstall', '--purge', '--yes'])
  assert.equal(existsSync(at('opt/fidelity-tracker')), false)
})

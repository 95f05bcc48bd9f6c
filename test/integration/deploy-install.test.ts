/**
 * install.sh on a Debian in a folder: what it shows is what it does, a second run changes nothing of the operator's, and
 * --uninstall leaves what was there before. Users and owners are made for real where the tests run as root.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempDir } from '../support/temp-dir.ts'

const SCRIPT = new URL('../../deploy/install.sh', import.meta.url).pathname
const ROOT = join(SCRIPT, '../..')
/** What `npm run build` leaves in dist/share. */
const SHARE = [
  'man/man1/fidelity-tracker.1',
  'bash-completion/completions/fidelity-tracker',
  'zsh/site-functions/_fidelity-tracker',
  'fish/vendor_completions.d/fidelity-tracker.fish',
]
const isRoot = process.getuid?.() === 0
const TORRC = '## mine\nControlPort 9051\n#SocksPort 9050\n'

/** As much of a Debian as the script looks at, with Tor and bitcoind installed. */
function aDebian(): Disposable & { path: string; at: (path: string) => string } {
  const dir = tempDir()
  const at = (path: string) => join(dir.path, path)
  for (const folder of ['etc/tor', 'etc/systemd/system', 'opt', 'usr/local/bin']) {
    mkdirSync(at(folder), { recursive: true })
  }
  writeFileSync(at('etc/debian_version'), '12.11\n')
  writeFileSync(at('etc/passwd'), 'root:x:0:0:root:/root:/bin/bash\nbitcoin:x:107:110::/var/lib/bitcoind:/bin/false\n')
  writeFileSync(at('etc/group'), 'root:x:0:\ndebian-tor:x:109:\nbitcoin:x:110:alice\n')
  writeFileSync(at('etc/shadow'), 'root:*:1::::::\n')
  writeFileSync(at('etc/gshadow'), 'root:*::\ndebian-tor:*::\nbitcoin:*::alice\n')
  writeFileSync(at('etc/tor/torrc'), TORRC)
  for (const folder of ['var/lib/bitcoind', 'var/lib/bitcoind/signet']) {
    mkdirSync(at(folder), { recursive: true })
    writeFileSync(at(`${folder}/.cookie`), '__cookie__:x')
    chmodSync(at(`${folder}/.cookie`), 0o640)
    if (isRoot) chownSync(at(folder), 107, 110)
  }
  return { path: dir.path, at, [Symbol.dispose]: () => dir[Symbol.dispose]() }
}

function install(root: string, ...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(SCRIPT, ['--root', root, ...args], { encoding: 'utf8', input: '' })
  return { code: status, stdout, stderr }
}

/** Every path with mode and content, without what shadow-utils keep as their own backup. */
function snapshot(root: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()) {
    if (/^etc\/(\.pwd\.lock|(passwd|group|shadow|gshadow)-)$/.test(name)) continue
    const stat = statSync(join(root, name))
    found[name] = `${(stat.mode & 0o7777).toString(8)} ${stat.isFile() ? readFileSync(join(root, name), 'utf8') : ''}`
  }
  return found
}

test('--dry-run and a "no" change nothing; what is unknown is refused', () => {
  using debian = aDebian()
  const before = snapshot(debian.path)
  const dry = install(debian.path, '--dry-run')
  assert.equal(dry.code, 0, dry.stderr)
  assert.match(dry.stdout, /1\. add the system user fidelity-tracker/)
  assert.match(
    dry.stdout,
    /append to \/etc\/tor\/torrc .*:\n +SocksPort 127\.0\.0\.1:9050 IsolateSOCKSAuth\n +CookieAuthentication 1/,
  )
  assert.match(dry.stdout, /to the group bitcoin, for bitcoind's cookie/)
  assert.equal(install(debian.path).code, 1, 'nobody said yes')
  for (const args of [['--nonsense'], ['--network', 'mainnet'], ['--purge']]) {
    assert.equal(install(debian.path, ...args).code, 1, args.join(' '))
  }
  assert.deepEqual(snapshot(debian.path), before)
})

test('a bitcoind that keeps its cookie to itself: said, with the line to add', () => {
  using debian = aDebian()
  chmodSync(debian.at('var/lib/bitcoind/.cookie'), 0o600)
  assert.doesNotMatch(install(debian.path, '--dry-run').stdout, /rpccookieperms/)
  if (!isRoot) return
  chmodSync(debian.at('var/lib/bitcoind'), 0o700)
  const { stdout } = install(debian.path, '--yes')
  assert.match(stdout, /^Still to do: .*rpccookieperms=group into bitcoin\.conf/m)
  assert.match(stdout, /^Still to do: .*sudo chmod g\+x \/var\/lib\/bitcoind$/m)
})

test('installed: user, groups, program, settings, torrc, unit; again: nothing lost; uninstalled: as before', () => {
  if (!isRoot) return // users and owners can't be made
  using debian = aDebian()
  const before = snapshot(debian.path)
  const first = install(debian.path, '--yes', '--network', 'signet')
  assert.equal(first.code, 0, first.stderr)
  const passwd = readFileSync(debian.at('etc/passwd'), 'utf8')
  const [, uid, gid] = /^fidelity-tracker:x:(\d+):(\d+)::\/var\/lib\/fidelity-tracker:\/usr\/sbin\/nologin$/m.exec(
    passwd,
  )!
  const groups = readFileSync(debian.at('etc/group'), 'utf8')
  assert.match(groups, /^debian-tor:x:109:fidelity-tracker$/m)
  assert.match(groups, /^bitcoin:x:110:alice,fidelity-tracker$/m)
  const data = statSync(debian.at('var/lib/fidelity-tracker'))
  assert.deepEqual([data.mode & 0o777, data.uid, data.gid], [0o700, Number(uid), Number(gid)])
  const settings = statSync(debian.at('etc/fidelity-tracker.toml'))
  assert.deepEqual([settings.mode & 0o777, settings.uid, settings.gid], [0o640, 0, Number(gid)])
  assert.equal(
    readFileSync(debian.at('etc/tor/torrc'), 'utf8'),
    `${TORRC}# fidelity-tracker begin (install.sh --uninstall removes these lines)\nSocksPort 127.0.0.1:9050 IsolateSOCKSAuth\nCookieAuthentication 1\nCookieAuthFileGroupReadable 1\n# fidelity-tracker end\n`,
  )
  assert.ok(existsSync(debian.at('etc/systemd/system/fidelity-tracker.service')))
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  const installed = Object.keys(packages).filter(
    (path) => path && existsSync(debian.at(`opt/fidelity-tracker/${path}`)),
  )
  assert.deepEqual(
    installed.filter((path) => packages[path].dev),
    [],
    'only what running needs',
  )
  assert.ok(installed.includes('node_modules/better-sqlite3'))
  // What the build has left for them, where man and the shells look.
  for (const file of SHARE) {
    const path = `usr/local/share/${file}`
    assert.equal(readFileSync(debian.at(path), 'utf8'), readFileSync(join(ROOT, 'dist/share', file), 'utf8'))
    assert.equal(statSync(debian.at(path)).mode & 0o777, 0o644)
  }

  // The installed program runs, from there alone, and has the settings.
  const program = debian.at('opt/fidelity-tracker')
  const shown = execFileSync(join(program, 'bin/node'), [join(program, 'dist/main.js'), 'print-config'], {
    encoding: 'utf8',
    cwd: '/',
    env: { FIDELITY_TRACKER_CONFIG: debian.at('etc/fidelity-tracker.toml') },
  })
  assert.match(shown, /^network = "signet" {2}# file$/m)
  assert.match(shown, /^datadir = "\/var\/lib\/fidelity-tracker" {2}# file$/m)

  // The operator changes things, then installs the next version.
  writeFileSync(debian.at('etc/fidelity-tracker.toml'), 'network = "main"\nauth = "tracker:secret"\n')
  chmodSync(debian.at('var/lib/bitcoind'), 0o700)
  writeFileSync(debian.at('usr/local/share/man/man1/theirs.1'), '.TH theirs 1\n')
  writeFileSync(debian.at('var/lib/fidelity-tracker/onion.key'), 'key')
  writeFileSync(debian.at('etc/tor/torrc'), `${readFileSync(debian.at('etc/tor/torrc'), 'utf8')}## later\n`)
  const changed = snapshot(debian.at('etc'))
  const second = install(debian.path, '--yes')
  assert.equal(second.code, 0, second.stderr)
  assert.deepEqual(snapshot(debian.at('etc')), changed)
  assert.doesNotMatch(second.stdout, /Still to do|cookie/, 'it has a password')
  chmodSync(debian.at('var/lib/bitcoind'), 0o755)
  assert.equal(readFileSync(debian.at('var/lib/fidelity-tracker/onion.key'), 'utf8'), 'key')

  const third = install(debian.path, '--uninstall', '--yes')
  assert.equal(third.code, 0, third.stderr)
  assert.match(third.stdout, /Left where they are .*\/var\/lib\/fidelity-tracker/)
  assert.equal(readFileSync(debian.at('etc/tor/torrc'), 'utf8'), `${TORRC}## later\n`)
  assert.equal(existsSync(debian.at('usr/local/bin/fidelity-tracker')), false)
  assert.deepEqual(readdirSync(debian.at('usr/local/share'), { recursive: true }).sort(), [
    ...['man', 'man/man1', 'man/man1/theirs.1'],
  ])
  assert.equal(readFileSync(debian.at('var/lib/fidelity-tracker/onion.key'), 'utf8'), 'key')
  assert.match(readFileSync(debian.at('etc/group'), 'utf8'), /^bitcoin:x:110:alice$/m)

  assert.equal(install(debian.path, '--uninstall', '--purge', '--yes').code, 0)
  writeFileSync(debian.at('etc/tor/torrc'), TORRC)
  rmSync(debian.at('usr/local/share'), { recursive: true }) // the page of somebody else
  assert.deepEqual(snapshot(debian.path), before)
  assert.match(install(debian.path, '--uninstall', '--yes').stdout, /nothing to do/)
})

test('settings that are there say which network and cookie it is about; what was named else is said, and not written', () => {
  using debian = aDebian()
  const settings = debian.at('etc/fidelity-tracker.toml')
  const plan = (text: string) => {
    writeFileSync(settings, text)
    return install(debian.path, '--dry-run').stdout
  }
  assert.match(plan('network = "signet"\n'), /to the group bitcoin, for bitcoind's cookie/)
  assert.doesNotMatch(plan('network = "testnet4"\n'), /to the group bitcoin/, 'it has no cookie there')
  assert.match(plan(`network = "testnet4"\n cookie-file='/var/lib/bitcoind/.cookie'\n`), /to the group bitcoin/)
  assert.doesNotMatch(plan('auth = "tracker:secret"\n'), /bitcoind's cookie/)
  if (!isRoot) return
  const done = install(debian.path, '--yes', '--network', 'signet', '--cookie', '/run/bitcoind/.cookie')
  assert.equal(readFileSync(settings, 'utf8'), 'auth = "tracker:secret"\n')
  assert.match(done.stdout, /^Still to do: .*stays as it is: write network = "signet" there yourself$/m)
  assert.match(done.stdout, /^Still to do: .*write cookie-file = "\/run\/bitcoind\/\.cookie" there yourself$/m)
})

test('without --root: the same, on the system itself', () => {
  if (!isRoot) return
  using debian = aDebian()
  const before = snapshot(debian.path)
  // A mount namespace in which our folder is the system, and no systemd runs.
  const mounts = ['etc', 'opt', 'usr/local', 'var/lib'].map((name) => `mount --bind ${debian.at(name)} /${name}`)
  const inPlace = (...args: string[]) => {
    const command = [...mounts, 'mount -t tmpfs none /run', `exec ${SCRIPT} --yes "$@"`].join(' && ')
    const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', command, 'sh', ...args], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    return stdout
  }
  assert.match(inPlace(), /Done\. What it needs, checked: sudo -u fidelity-tracker fidelity-tracker doctor/)
  assert.match(readFileSync(debian.at('etc/group'), 'utf8'), /^bitcoin:x:110:alice,fidelity-tracker$/m)
  assert.ok(existsSync(debian.at('usr/local/bin/fidelity-tracker')))
  inPlace('--uninstall')
  assert.ok(existsSync(debian.at('var/lib/fidelity-tracker')))
  inPlace('--uninstall', '--purge')
  assert.deepEqual(snapshot(debian.path), before)
})

test('a cookie that is nowhere: said, with what to write where', () => {
  using debian = aDebian()
  const dry = install(debian.path, '--dry-run', '--network', 'testnet4')
  assert.match(dry.stdout, /bitcoind's cookie NOT FOUND: name it there/)
  if (!isRoot) return
  const done = install(debian.path, '--yes', '--network', 'testnet4')
  assert.match(done.stdout, /Name it as cookie-file in \/etc\/fidelity-tracker\.toml/)
  assert.match(readFileSync(debian.at('etc/fidelity-tracker.toml'), 'utf8'), /^#cookie-file = /m)
})

test('without Tor, on another system, or without a program: said before anything is done', () => {
  using debian = aDebian()
  using elsewhere = tempDir()
  assert.match(install(elsewhere.path, '--yes').stderr, /this is no Debian/)
  const before = snapshot(debian.path)
  const copy = join(elsewhere.path, 'deploy')
  cpSync(join(SCRIPT, '..'), copy, { recursive: true })
  const unbuilt = spawnSync(join(copy, 'install.sh'), ['--root', debian.path, '--yes'], { encoding: 'utf8' })
  assert.match(unbuilt.stderr, /is neither a clone of fidelity-tracker nor its package: there is no program to install/)
  assert.deepEqual(snapshot(debian.path), before)
  cpSync(debian.at('etc/tor/torrc'), debian.at('etc/tor/torrc.sample'))
  execFileSync('rm', [debian.at('etc/tor/torrc')])
  assert.match(install(debian.path, '--yes').stderr, /Tor is not installed: apt install tor/)
})

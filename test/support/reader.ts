/**
 * Types the commands of the pages, one after the other, as the user `alice` of a fresh Debian would, on a machine of its
 * own (test/sandbox/own-machine.ts); prints what came of each as JSON. What the texts beside the commands say that has to be
 * there (a bitcoind, an edited settings file, a PostgreSQL) is brought at the command before which it is needed.
 *
 * Stand-ins, as this machine has no service manager and no network: `systemctl` (starts and signals the service by itself),
 * `journalctl` (the real one checks the options, then the service's log is shown), `apt` (installs nothing), `apt-get`
 * likewise; `docker` and what else can't be had is in NOT_TYPED of docs-commands.test.ts. Everything else is real, sudo too.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { bondKey } from '../sandbox/bond-key.ts'
import { mineMarket } from '../sandbox/market.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { fencedCommands, ROOT } from './fenced-commands.ts'
import { onionHost } from './onions.ts'

export interface Typed {
  text: string
  /** As it was typed: names filled in. */
  typed: string
  code: number | null
  /** The end of what it said. */
  said: string
}

const HOME = '/home/alice'
const CLONE = `${HOME}/fidelity-tracker`
const SETTINGS = '/etc/fidelity-tracker.toml'
const SERVICE_LOG = '/run/service.log'
const PASSWORD = 'sesame'

/** Whatever takes longer hangs. */
const COMMAND_MS_MAX = 60_000

const run = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: 'utf8' })
const executable = (path: string, text: string) => writeFileSync(path, text, { mode: 0o755 })

function prepare(): void {
  // sudo as Debian's package has it, but for the password.
  const sudo = process.env.READER_SUDO!
  for (const folder of ['usr', 'etc'])
    cpSync(join(sudo, folder), `/${folder}`, { recursive: true, preserveTimestamps: true })
  run('chown', '-R', 'root:root', '/etc/sudoers', '/etc/sudoers.d', '/usr/libexec/sudo')
  run('chown', 'root:root', '/usr/bin/sudo')
  chmodSync('/usr/bin/sudo', 0o4755)
  writeFileSync('/etc/sudoers.d/alice', 'alice ALL=(ALL:ALL) NOPASSWD: ALL\n', { mode: 0o440 })
  run('useradd', '--create-home', '--shell', '/bin/bash', 'alice')
  chmodSync(HOME, 0o700) // as Debian's adduser makes it
  writeFileSync('/etc/gitconfig', '[safe]\n\tdirectory = *\n')
  // What a Debian with Node has on its PATH; no npm, and no registry to be asked.
  symlinkSync(process.execPath, '/usr/local/bin/node')
  const postgres = process.env.READER_POSTGRES!
  for (const name of ['createuser', 'createdb', 'dropdb', 'psql', 'pg_dump', 'pg_restore']) {
    symlinkSync(join(postgres, name), join('/usr/local/bin', name))
  }
  executable(
    '/usr/local/bin/systemctl',
    `#!/bin/sh
pid=$(cat /run/service.pid) || exit 3
case "$*" in
  'status fidelity-tracker') [ -d "/proc/$pid" ] || exit 3; echo "fidelity-tracker.service: active (running), $pid" ;;
  'restart fidelity-tracker') [ "$(id -u)" = 0 ] || exit 1 ;; # the reader does it
  'kill -s '*' fidelity-tracker') exec /bin/kill -s "$3" "$pid" ;;
  *) echo "this systemctl does not know $*" >&2; exit 1 ;;
esac
`,
  )
  mkdirSync('/run/empty-journal')
  executable(
    '/usr/local/bin/journalctl',
    `#!/bin/sh
[ "$(id -u)" = 0 ] || { echo 'Hint: You are currently not seeing messages from other users and the system.' >&2; exit 1; }
for word; do shift; [ "$word" = -f ] || set -- "$@" "$word"; done
${process.env.READER_JOURNALCTL} --no-pager -D /run/empty-journal "$@" >/dev/null 2>&1 || { echo "wrong options: $*" >&2; exit 1; }
exec cat ${SERVICE_LOG}
`,
  )
  for (const name of ['apt', 'apt-get']) {
    executable(
      `/usr/local/bin/${name}`,
      `#!/bin/sh
[ "$(id -u)" = 0 ] && [ "$1" = install ] || exit 100
case " $* " in *' tor '*) mkdir -p /etc/tor; [ -e /etc/tor/torrc ] || echo '#SocksPort 9050' >/etc/tor/torrc ;; esac
`,
    )
  }
}

/** The clone is of the commit; what was changed since comes along, and what npm and the build would bring. */
function completeClone(): void {
  const changed = run(
    'git',
    '-C',
    ROOT,
    'ls-files',
    '-z',
    '--modified',
    '--others',
    '--exclude-standard',
    '--deduplicate',
  )
  for (const name of changed.split('\0').filter((path) => path !== '' && existsSync(join(ROOT, path)))) {
    mkdirSync(dirname(join(CLONE, name)), { recursive: true })
    copyFileSync(join(ROOT, name), join(CLONE, name))
  }
  symlinkSync(join(ROOT, 'node_modules'), join(CLONE, 'node_modules'))
  cpSync(join(ROOT, 'dist'), join(CLONE, 'dist'), { recursive: true })
  run('chown', '-R', '-h', 'alice:', CLONE)
}

class Service {
  readonly #settings: string
  #process: ChildProcess | undefined

  constructor(node: Regtest) {
    copyFileSync(node.cookieFile, '/etc/bitcoin.cookie')
    chmodSync('/etc/bitcoin.cookie', 0o644)
    this.#settings = `network = "regtest"
rpc = "127.0.0.1:${node.rpcPort}"
cookie-file = "/etc/bitcoin.cookie"
datadir = "/var/lib/fidelity-tracker"
tor = false
allow-test-addresses = true
`
  }

  /** As the operator edits them, with these lines besides. */
  async start(...lines: string[]): Promise<void> {
    writeFileSync(SETTINGS, `${this.#settings}${lines.join('\n')}\n`)
    const fd = openSync(SERVICE_LOG, 'w')
    const user = ['--reuid', 'fidelity-tracker', '--regid', 'fidelity-tracker', '--init-groups']
    const child = spawn('setpriv', [...user, 'fidelity-tracker', 'start'], { stdio: ['ignore', fd, fd], cwd: '/' })
    this.#process = child
    writeFileSync('/run/service.pid', String(child.pid))
    await waitUntil('the service is ready', () => {
      const log = readFileSync(SERVICE_LOG, 'utf8')
      if (child.exitCode !== null) throw new Error(`the service has ended: ${log}`)
      return log.includes('"msg":"ready"')
    })
  }

  async stop(): Promise<void> {
    const child = this.#process!
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill()
    await exited
  }
}

/** PostgreSQL as Debian's package starts it: at its usual socket, the user postgres let in by name. */
async function startPostgres(): Promise<void> {
  const bin = process.env.READER_POSTGRES!
  try {
    run('id', 'postgres')
  } catch {
    run('useradd', '--system', 'postgres')
  }
  run('install', '-d', '-o', 'postgres', '/var/run/postgresql', '/var/lib/postgresql', '/var/lib/postgresql/data')
  const as = ['--reuid', 'postgres', '--regid', 'postgres', '--init-groups']
  run(
    'setpriv',
    ...as,
    join(bin, 'initdb'),
    '-D',
    '/var/lib/postgresql/data',
    '--auth-local=peer',
    '--auth-host=scram-sha-256',
    '--no-sync',
  )
  spawn(
    'setpriv',
    [...as, join(bin, 'postgres'), '-D', '/var/lib/postgresql/data', '-k', '/var/run/postgresql', '-c', 'fsync=off'],
    { stdio: 'ignore', cwd: '/' },
  )
  await waitUntil('PostgreSQL is there', () => existsSync('/var/run/postgresql/.s.PGSQL.5432'))
}

async function main(): Promise<void> {
  prepare()
  const node = await Regtest.start()
  const bonds = await mineMarket(node, 5)
  const bond = await node.fundBond({ key: bondKey('mine'), format: 'D', address: `${onionHost('mine')}:21` })
  await node.mine(1)
  const service = new Service(node)
  const names: [RegExp, string][] = [
    [/<this repository>/g, ROOT],
    [/<(maker's onion|56 characters|maker)>(\.onion)?:<port>/g, bonds[0]!.address],
    [/<maker>\.onion/g, onionHost('mine')],
    [/<(onion|tracker)>(\.onion)?:8080/g, '127.0.0.1:8080'],
    [/<txid>:<vout>/g, `${bond.outpoint.txid}:${bond.outpoint.vout}`],
  ]
  const shared = `shared-store = "postgres://tracker:${PASSWORD}@127.0.0.1/market"`
  const before: Record<string, () => Promise<void> | void> = {
    'sudo cp -p /var/lib/fidelity-tracker/onion.key /var/lib/fidelity-tracker/tracker.key /root/': () =>
      // With Tor the service would have made it.
      run(
        'install',
        '-m',
        '600',
        '-o',
        'fidelity-tracker',
        '/dev/null',
        '/var/lib/fidelity-tracker/onion.key',
      ) as never,
    'node dist/main.js start': () => service.stop(),
    'sudo -u postgres createuser --pwprompt tracker': startPostgres,
    'sudo -u fidelity-tracker fidelity-tracker export --shared -o /var/lib/fidelity-tracker/shared.sqlite':
      async () => {
        await service.stop()
        await service.start(shared)
      },
    "sudo -u postgres psql -c 'ALTER ROLE tracker NOLOGIN'": async () => {
      await service.stop()
      await service.start()
    },
  }
  const after: Record<string, () => Promise<void> | void> = {
    'git clone <this repository> fidelity-tracker && cd fidelity-tracker': completeClone,
    'sudo deploy/install.sh': () => service.start(),
    'node dist/main.js start': () => service.start(),
    'sudo systemctl restart fidelity-tracker': async () => {
      await service.stop()
      await service.start()
    },
    'sudo systemctl kill -s SIGUSR1 fidelity-tracker': async () => {
      await waitUntil('the state is in the log', () => readFileSync(SERVICE_LOG, 'utf8').includes('"msg":"state"'))
    },
  }
  /** What doesn't end by itself: what it has said when it is ended. */
  const untilSaid: Record<string, string> = { 'node dist/main.js start': '"msg":"not ready"' }
  const answers: Record<string, string> = {
    'sudo deploy/install.sh': 'y\n',
    'sudo -u postgres createuser --pwprompt tracker': `${PASSWORD}\n${PASSWORD}\n`,
  }
  const skip = new Set(JSON.parse(process.env.READER_SKIP!) as string[])
  const results: Typed[] = []
  let cwd = HOME
  for (const { text } of fencedCommands()) {
    if (skip.has(text)) continue
    skip.add(text)
    await before[text]?.()
    const typed = names.reduce((words, [name, value]) => words.replace(name, value), text)
    if (process.env.READER_VERBOSE) process.stderr.write(`${new Date().toISOString()} ${typed}\n`)
    const result = await type(typed, cwd, answers[text] ?? '', untilSaid[text])
    cwd = result.cwd
    results.push({ text, typed, code: result.code, said: result.said })
    await after[text]?.()
  }
  process.stdout.write(JSON.stringify(results), () => process.exit())
}

/** In a shell of the user's own, without a terminal. */
async function type(command: string, cwd: string, answer: string, untilSaid?: string) {
  // The shell outlives the signal by which a command that doesn't end is ended.
  const script = `trap : TERM; cd "${cwd}" && ${command}
code=$?; pwd >&3; exit $code`
  const user = ['--reuid', 'alice', '--regid', 'alice', '--init-groups']
  const env = {
    HOME,
    USER: 'alice',
    LANG: 'C.UTF-8',
    PATH: '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin',
  }
  const child = spawn('setpriv', [...user, 'bash', '-c', script], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env,
    detached: true,
  })
  let said = ''
  let where = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream!.on('data', (chunk) => {
      said += chunk
    })
  }
  ;(child.stdio[3] as NodeJS.ReadableStream).on('data', (chunk) => {
    where += chunk
  })
  child.stdin!.on('error', () => {})
  child.stdin!.end(answer)
  const closed = once(child, 'close')
  const killed = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), COMMAND_MS_MAX)
  if (untilSaid !== undefined) {
    await waitUntil(`${command} says ${untilSaid}`, () => child.exitCode !== null || said.includes(untilSaid))
    process.kill(-child.pid!, 'SIGTERM')
  }
  const [code] = await closed
  clearTimeout(killed)
  return { code: code as number | null, said: said.slice(-1_500), cwd: where.trim() || cwd }
}

await main()

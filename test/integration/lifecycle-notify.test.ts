/**
 * The daemon under a service manager: what it says, when, and that the watchdog's ping stops when its event loop does. The
 * manager's end is a socket of ours; the messages come through the real systemd-notify.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { NotifySocket } from '../sandbox/notify-socket.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { tempDir } from '../support/temp-dir.ts'

const UNITS = new URL('../../deploy/systemd/', import.meta.url)

test('READY, a true STATUS, the watchdog’s ping while it runs, and STOPPING', async () => {
  await using node = await Regtest.start({ blocks: 20 })
  await using manager = await NotifySocket.open()
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '1000000' }
  await using tracker = await Tracker.start(node, { env })
  await waitUntil('READY', () => manager.count('READY=1') === 1)
  const readyAt = (height: number) => `STATUS=ready at 127.0.0.1:${tracker.port}, block ${height}`
  await waitUntil('the status says that it is ready', () => manager.said.includes(readyAt(20)))
  const pings = manager.count('WATCHDOG=1')
  await waitUntil('it pings', () => manager.count('WATCHDOG=1') > pings + 2)

  await node.mine(1)
  await waitUntil('the status follows the tip', () => manager.said.includes(readyAt(21)))
  await node.stop()
  await waitUntil('the status says what is wrong', () =>
    manager.said.some((said) => /^STATUS=not ready: bitcoind: /.test(said)),
  )
  assert.equal(manager.count('STOPPING=1'), 0)
  assert.equal(await tracker.stop(), 0)
  await waitUntil('STOPPING', () => manager.count('STOPPING=1') === 1)
  assert.equal(manager.count('READY=1'), 1)
  assert.equal(tracker.logged('the service manager is not told how we are'), undefined)
})

test('a daemon that stands still pings no more', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using manager = await NotifySocket.open()
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '400000' }
  await using tracker = await Tracker.start(node, { env })
  await tracker.caughtUp(node)
  await waitUntil('it pings', () => manager.count('WATCHDOG=1') > 1)
  process.kill(tracker.pid, 'SIGSTOP')
  let last = -1
  await waitUntil(
    'nothing has come for two seconds',
    () => {
      const isSilent = manager.said.length === last
      last = manager.said.length
      return isSilent
    },
    { everyMs: 2_000 },
  )
  process.kill(tracker.pid, 'SIGCONT')
  await waitUntil('it pings again', () => manager.said.length > last)
})

test('where nobody can be told, it says so once and goes on', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  using dir = tempDir()
  // Without systemd-notify on the path; the sandbox itself needs setpriv.
  symlinkSync(execFileSync('sh', ['-c', 'command -v setpriv'], { encoding: 'utf8' }).trim(), join(dir.path, 'setpriv'))
  const watched = { NOTIFY_SOCKET: join(dir.path, 'nobody'), WATCHDOG_USEC: '400000' }
  for (const env of [watched, { ...watched, PATH: dir.path }]) {
    await using tracker = await Tracker.start(node, { env })
    const line = await tracker.said('the service manager is not told how we are')
    assert.match(String(line.detail), /systemd-notify/)
    await tracker.caughtUp(node)
    assert.equal(await tracker.stop(), 0)
    assert.equal(tracker.log.filter(({ msg }) => msg === line.msg).length, 1)
  }
})

test('what the manager did not hear is said again', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using manager = await NotifySocket.open()
  using dir = tempDir()
  // A systemd-notify that gets through from the second time on.
  const script = `#!/bin/sh\nmkdir ${dir.path}/failed 2>/dev/null && exit 1\nPATH=/usr/bin:/bin exec systemd-notify "$@"\n`
  writeFileSync(join(dir.path, 'systemd-notify'), script, { mode: 0o755 })
  const env = { NOTIFY_SOCKET: manager.path, PATH: `${dir.path}:${process.env.PATH}` }
  await using tracker = await Tracker.start(node, { env })
  await tracker.said('the service manager is not told how we are')
  await waitUntil('READY', () => manager.count('READY=1') === 1)
  assert.match(manager.said[1]!, /^STATUS=/)
})

test('a watchdog that is meant for another process is not pinged', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using manager = await NotifySocket.open()
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '400000', WATCHDOG_PID: '1' }
  await using tracker = await Tracker.start(node, { env })
  await tracker.caughtUp(node)
  await tracker.stop()
  await waitUntil('STOPPING', () => manager.count('STOPPING=1') === 1)
  assert.equal(manager.count('WATCHDOG=1'), 0)
})

for (const name of ['fidelity-tracker', 'fidelity-tracker@']) {
  test(`the unit ${name} is valid, and exposed to little`, () => {
    using dir = tempDir()
    // The program is not installed here; everything else is as it is delivered.
    const text = readFileSync(new URL(`${name}.service`, UNITS), 'utf8')
    const unit = join(dir.path, `${name}${name.endsWith('@') ? 'a' : ''}.service`)
    writeFileSync(unit, text.replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true'))
    const complaints = execFileSync('systemd-analyze', ['verify', '--man=no', unit], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
    assert.equal(complaints, '')
    const security = execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', unit], {
      encoding: 'utf8',
    })
    const exposure = Number(/exposure level for \S+: (\d+\.\d)/.exec(security)?.[1])
    assert.ok(exposure <= 2, security)
  })
}

test('the unit for several is the one for one, but for its folder, its settings and PostgreSQL', () => {
  const settingsOf = (name: string) =>
    readFileSync(new URL(`${name}.service`, UNITS), 'utf8')
      .split('\n')
      .filter((line) => /^\w+=/.test(line))
  const [one, several] = ['fidelity-tracker', 'fidelity-tracker@'].map(settingsOf) as [string[], string[]]
  const others = (lines: string[], than: string[]) => lines.filter((line) => !than.includes(line))
  assert.deepEqual(
    others(one, several).map((line) => line.split('=')[0]),
    ['Description', 'Documentation', 'After', 'StateDirectory'],
  )
  assert.deepEqual(others(several, one).slice(3), [
    'Environment=FIDELITY_TRACKER_CONFIG=/etc/fidelity-tracker/%i.toml',
    'Environment=FIDELITY_TRACKER_DATADIR=/var/lib/fidelity-tracker-%i',
    'EnvironmentFile=/etc/fidelity-tracker/shared.env',
    'StateDirectory=fidelity-tracker-%i',
  ])
})

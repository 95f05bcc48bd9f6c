/**
 * The log in systemd's journal: each line under its own priority and without the prefix that says it, so that
 * `journalctl -p warning` shows what needs a look; and no prefix wherever else the output goes.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Journal } from '../sandbox/journal.ts'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { MAIN } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { tempDir } from '../support/temp-dir.ts'

const WRONG = [process.execPath, MAIN, 'start', '--network', 'nowhere']

test('a real journal has each line under its priority', { skip: Journal.whyNot() ?? false }, async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using journal = await Journal.open()
  using dir = tempDir()
  const [port] = await freePorts(1)
  const daemon = journal.start([
    ...[process.execPath, MAIN, 'start', '--network', 'regtest', '--no-tor', '--http', 'off', '--nostr', 'off'],
    ...['--datadir', dir.path, '--address', `127.0.0.1:${port}`],
    ...['--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile],
  ])
  const pid = daemon.pid!
  const lines = (...options: string[]) =>
    journal.entries(pid, ...options).map(({ MESSAGE, PRIORITY }) => ({ ...JSON.parse(MESSAGE), PRIORITY }))
  const said = (msg: string) =>
    waitUntil(`the journal has “${msg}”`, () => lines().find((line) => line.msg === msg && line.level >= 30))
  assert.equal((await said('ready')).PRIORITY, '6')
  const first = lines().filter(({ msg }) => msg === 'not ready')
  assert.ok(
    first.every(({ PRIORITY }) => PRIORITY === '6'),
    'while it comes up that is no warning',
  )
  await node.stop()
  await waitUntil('it warns of not being ready', () =>
    lines('-p', 'warning').some(({ msg, level, PRIORITY }) => msg === 'not ready' && level === 40 && PRIORITY === '4'),
  )
  assert.ok(
    lines('-p', 'warning').every(({ level }) => level >= 40),
    'and nothing else is among the warnings',
  )
  daemon.kill('SIGTERM')
  await once(daemon, 'exit')
  assert.equal((await said('stopped')).PRIORITY, '6')

  const wrong = journal.start(WRONG)
  assert.deepEqual(await once(wrong, 'exit'), [2, null])
  const words = await waitUntil('its last words are there', () => {
    const found = journal.entries(wrong.pid!)
    return found.length > 0 && found
  })
  assert.match(words[0]!.MESSAGE, /^fidelity-tracker: --network/)
  assert.ok(words.every(({ PRIORITY }) => PRIORITY === '3'))
})

test('the prefix is there exactly if JOURNAL_STREAM names the output', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'out')
  const lastWords = async (journalStream: (fd: number) => string | undefined) => {
    const fd = openSync(file, 'w')
    const stream = journalStream(fd)
    const env = { ...process.env, ...(stream !== undefined && { JOURNAL_STREAM: stream }) }
    if (stream === undefined) delete env.JOURNAL_STREAM
    const [program, ...args] = WRONG
    const child = spawn(program!, args, { stdio: ['ignore', fd, fd], env })
    closeSync(fd)
    await once(child, 'exit')
    return readFileSync(file, 'utf8')
  }
  const numbers = (fd: number) => fstatSync(fd, { bigint: true })
  assert.match(await lastWords((fd) => `${numbers(fd).dev}:${numbers(fd).ino}`), /^<3>fidelity-tracker: /)
  for (const stream of [
    () => undefined,
    () => '',
    (fd: number) => `${numbers(fd).dev}:${numbers(fd).ino + 1n}`,
    (fd: number) => `${numbers(fd).dev + 1n}:${numbers(fd).ino}`,
  ]) {
    assert.match(await lastWords(stream), /^fidelity-tracker: /)
  }
})

/**
 * Every command in a fenced block of README, CONTRIBUTING, SECURITY and docs/ is typed on a fresh machine (reader.ts), in
 * the order of the pages, and ends with exit code 0; what can't be typed there is listed here, with the reason.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { onOwnMachine, whyNoOwnMachine } from '../sandbox/own-machine.ts'
import { commandsIn, fencedCommands, ROOT } from '../support/fenced-commands.ts'
import type { Typed } from '../support/reader.ts'

const READER = new URL('../support/reader.ts', import.meta.url).pathname
const TOOLS = process.env.SANDBOX_TOOLS ?? join(ROOT, '.tools')

/** By exact text. */
const NOT_TYPED: Record<string, string> = {
  './scripts/demo.sh': 'stays until Ctrl-C',
  './scripts/demo.sh --once': 'a minute of Tor, and what it shows has tests of its own',
  './scripts/demo.sh --three': 'the same',
  './scripts/test.sh': 'this is one of its tests',
  './scripts/test.sh unit': 'the same',
  "./scripts/test.sh integration/reorg 'unit/wire/c*'": 'the same',
  'npm run lint && npm run typecheck': 'scripts/test.sh does both first',
  'npm ci --ignore-scripts && npm run build':
    'asks the registry; setup_packages and setup_build of scripts/common.sh do it',
  'git switch --detach vX.Y.Z && npm ci --ignore-scripts && scripts/release.sh --dry-run X.Y.Z':
    'there is no such tag; deploy-package.test.ts runs release.sh',
  'sudoedit /etc/fidelity-tracker.toml': 'an editor',
  'docker compose -f deploy/compose.yaml up -d': 'there is no Docker; deploy-container.test.ts starts what it would',
  'docker compose -f deploy/compose.yaml exec tracker fidelity-tracker status': 'the same',
}

function locate(program: string): string {
  return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim()
}

/** Where PostgreSQL's programs really are. */
function postgresBin(): string {
  const home = '/usr/lib/postgresql'
  const versions = existsSync(home) ? readdirSync(home).sort((a, b) => Number(b) - Number(a)) : []
  const bin = versions.map((version) => join(home, version, 'bin')).find((path) => existsSync(join(path, 'initdb')))
  return bin ?? dirname(locate('initdb'))
}

test('commands are found in `sh` and `console` blocks, without their comments; elsewhere they are mistakes', () => {
  const page = [
    '```sh',
    'a b   # c',
    '# only a comment',
    '```',
    '```console',
    '$ d',
    'output',
    '```',
    '```toml',
    'e = 1',
    '```',
  ]
  assert.deepEqual(commandsIn(page.join('\n'), 'page'), [
    { text: 'a b', at: 'page:2' },
    { text: 'd', at: 'page:6' },
  ])
  assert.throws(() => commandsIn('```\nsudo reboot\n```', 'page'), /page:2 looks like a command/)
})

test('nothing is excused from being typed that no page says', () => {
  const said = new Set(fencedCommands().map(({ text }) => text))
  assert.deepEqual(
    Object.keys(NOT_TYPED).filter((text) => !said.has(text)),
    [],
  )
})

test('every command of the pages does what it says: exit code 0', { skip: whyNoOwnMachine() ?? false }, async () => {
  const bitcoind = process.env.FIDELITY_BITCOIND ?? join(TOOLS, 'bitcoind/bin/bitcoind')
  const folders = [ROOT, dirname(dirname(bitcoind)), join(TOOLS, 'sudo')]
  const env = {
    ...process.env,
    NODE_TEST_CONTEXT: undefined,
    FIDELITY_BITCOIND: bitcoind,
    READER_SUDO: join(TOOLS, 'sudo'),
    READER_POSTGRES: postgresBin(),
    READER_JOURNALCTL: locate('journalctl'),
    READER_SKIP: JSON.stringify(Object.keys(NOT_TYPED)),
  }
  const typed = JSON.parse(await onOwnMachine(READER, folders, env)) as Typed[]
  assert.ok(typed.length > 20)
  assert.deepEqual(
    typed.filter(({ code, typed }) => code !== 0 || /<[a-z]|…/.test(typed)),
    [],
  )
})

/** What the build leaves in dist/share: bash, zsh and fish load their completions and complete with them, man's page has no fault. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const SHARE = new URL('../../dist/share/', import.meta.url).pathname
const run = promisify(execFile)

/** What is typed, and what it may become: one word is put behind it by the shell, of several some are looked for. */
const TYPED: readonly (readonly [typed: string, ...words: string[]])[] = [
  ['fidelity-tracker print-c', 'print-config'],
  ['fidelity-tracker bonds --al', '--all'],
  ['fidelity-tracker start --registr', '--registrations-per-connection'],
  ['fidelity-tracker bonds --registr'],
  ['fidelity-tracker status --rpc 127.0.0.1:1 --js', '--json'],
  ['fidelity-tracker export --format c', 'csv'],
  ['fidelity-tracker start --network sig', 'signet'],
  ['fidelity-tracker query --network signet 127.0.0.1:8080 bond-', 'bond-proof'],
  ['fidelity-tracker help print-t', 'print-torrc'],
  ['fidelity-tracker backup /etc/passw', '/etc/passwd'],
  ['fidelity-tracker backup --datadir /et', '/etc'],
]

test('bash completes verbs, options, words, files and folders', async () => {
  const script = `
    . "$1"; shift
    complete -p fidelity-tracker >&2 || exit 1
    for COMP_LINE; do
      COMP_POINT=\${#COMP_LINE}
      _fidelity_tracker 2>/dev/null # compopt wants a real completion
      printf '%s\\n' "\${COMPREPLY[*]}"
    done`
  const file = join(SHARE, 'bash-completion/completions/fidelity-tracker')
  const { stdout } = await run('bash', ['-c', script, 'bash', file, ...TYPED.map(([typed]) => typed)])
  for (const [at, answer] of stdout.trimEnd().split('\n').entries()) expectWords(answer.split(' '), TYPED[at]!)
  const { stdout: equals } = await run('bash', ['-c', script, 'bash', file, 'fidelity-tracker start --log-level=d'])
  assert.equal(equals, 'debug\n')
})

test('fish completes verbs, options, words, files and folders', async () => {
  const script = `source $argv[1]; for line in $argv[2..]; echo (complete -C "$line" | string replace -r '\\t.*' ''); end`
  const file = join(SHARE, 'fish/vendor_completions.d/fidelity-tracker.fish')
  const { stdout } = await run('fish', ['--no-config', '-c', script, file, ...TYPED.map(([typed]) => typed)])
  const answers = stdout.split('\n')
  for (const [at, typed] of TYPED.entries()) expectWords(answers[at]!.trim().split(' '), typed)
})

// zsh completes in its line editor alone: one runs in a terminal, and a key shows what has become of the line.
test('zsh completes verbs, options, words, files and folders', async () => {
  const script = `
    zmodload zsh/zpty
    until_line() { while zpty -r z REPLY; do [[ $REPLY == *@@$1*@@* ]] && return; done; exit 1 }
    zpty z zsh -f -i
    zpty -w z "fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D; show() { print -r -- '@@'\\$BUFFER'@@' }; zle -N show; bindkey '^T' show; zle-line-init() { print '@@'ready'@@' }; zle -N zle-line-init"
    until_line ready
    for line in "\${@:2}"; do
      zpty -w -n z "$line"$'\\t\\x14\\x15'
      until_line fid
      print -r -- \${\${REPLY#*@@}%%@@*}
    done`
  const { stdout } = await run('zsh', [
    '-f',
    '-c',
    script,
    'zsh',
    join(SHARE, 'zsh/site-functions'),
    ...TYPED.map(([typed]) => typed),
  ])
  const lines = stdout.trimEnd().split('\n')
  assert.equal(lines.length, TYPED.length)
  for (const [at, [typed, word]] of TYPED.entries()) {
    const before = typed.slice(0, typed.lastIndexOf(' ') + 1)
    assert.equal(lines[at]!.replace(/[ /=]$/, ''), word === undefined ? typed : before + word)
  }
})

test('the man page has every verb, and mandoc finds no fault in it', async () => {
  const page = join(SHARE, 'man/man1/fidelity-tracker.1')
  const { stdout: faults } = await run('mandoc', ['-T', 'lint', page])
  assert.equal(faults, '')
  const { stdout: text } = await run('mandoc', ['-T', 'utf8', '-O', 'width=80', page])
  // Bold is a letter, a backspace and the letter again.
  assert.match(text.replace(/.[\b]/g, ''), /^ {7}query <host:port> <request> \[about\]$/m)
})

function expectWords(answer: readonly string[], [typed, ...words]: readonly string[]): void {
  if (words.length === 0) assert.deepEqual(answer.filter(Boolean), [], typed)
  for (const word of words)
    assert.ok(
      answer.some((given) => given.replace(/\/$/, '') === word),
      `${typed}: ${answer}`,
    )
}

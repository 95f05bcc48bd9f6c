/**
 * Help, man page, completions, example file and the manual's table are made from one table each in its own way: here each
 * is read back from its text, and has to name the same verbs, options and settings.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { bashCompletion } from '../../../scripts/share/bash.ts'
import { fishCompletion } from '../../../scripts/share/fish.ts'
import { manPage } from '../../../scripts/share/man.ts'
import { readTree } from '../../../scripts/share/tree.ts'
import { zshCompletion } from '../../../scripts/share/zsh.ts'
import { exampleConfig } from '../../../src/cli/config-example.ts'
import { commandLine } from '../../../src/cli/program.ts'
import { questionOf } from '../../../src/cli/query.ts'
import { envName, flagName, SETTING_NAMES, setting } from '../../../src/settings.ts'

const tree = readTree()
const { program, verbs } = commandLine(new AbortController().signal, { dumpState() {}, changeLogLevel() {} })
const man = manPage(tree).replaceAll('\\-', '-').replaceAll('\\(aq', "'")

/** The long options that the pattern finds, in order of the alphabet. */
const found = (text: string, pattern: RegExp) =>
  [...new Set([...text.matchAll(pattern)].map(([, name]) => name!))].sort()

const HELP_LINE = /^ {2}(?:-\w, )?(--[\w-]+)/gm

/** The long options of each verb as its help lists them; the settings of a verb, that its help names below them. */
const helps = new Map(
  program.commands.map((command) => {
    let text = ''
    command.configureOutput({ writeOut: (part) => (text += part) })
    command.outputHelp()
    return [command.name(), text]
  }),
)
const own = (verb: string) => found(helps.get(verb)!.split('\n\nSettings')[0]!, HELP_LINE)
const flags = SETTING_NAMES.filter((name) => !setting(name).isHidden).map(flagName)

/** What completions offer: its own, and the settings that matter to it. */
function offered(verb: string): string[] {
  const note = /\n\nSettings([\s\S]*?)\n\n/.exec(helps.get(verb)!)?.[1]
  if (note === undefined) return own(verb)
  const named = note.startsWith(':')
    ? [...flags, '--config']
    : [...note.split('\n')[1]!.matchAll(/--[\w-]+/g)].map(String)
  return [...new Set([...own(verb), ...named])].sort()
}

test('every verb has help of its own, with two examples that it takes, and the settings are listed by start alone', async () => {
  for (const { command, examples } of verbs) {
    const name = command.name()
    assert.ok(Object.keys(examples).length >= 2, name)
    command.action(() => {})
    for (const example of Object.keys(examples)) {
      const typed = example
        .replace(/ >.*/, '')
        .replace(/<56 characters>|\$\(.*\)/, 'x')
        .split(' ')
        .filter(Boolean)
      await program.parseAsync([name, ...typed], { from: 'user' })
      assert.ok(helps.get(name)!.includes(`\n  fidelity-tracker ${name} ${example}`.trimEnd()), `${name} ${example}`)
    }
    const listed = own(name).filter((option) => flags.includes(option))
    assert.deepEqual(listed, name === 'start' ? flags.toSorted() : [], name)
  }
})

test('man page: every verb, option, setting and environment variable', () => {
  const section = (title: string) => man.split(`\n.SH ${title}\n`)[1]!.split('\n.SH ')[0]!
  const entries = new Map(
    section('VERBS')
      .split(/^\.TP\n(?=\.B [a-z-]+[^\n]*\n(?:(?!\.TP)[^\n]*\n)+\.RS$)/m)
      .slice(1)
      .map((entry) => [/^\.B ([a-z-]+)/.exec(entry)![1]!, entry]),
  )
  assert.deepEqual([...entries.keys()], [...helps.keys()])
  for (const [verb, entry] of entries) {
    const expected = own(verb).filter(
      (option) => option !== '--help' && option !== '--config' && !flags.includes(option),
    )
    assert.deepEqual(
      found(entry, /^\.B (?:-\w, )?(--[\w-]+)/gm).filter((option) => option !== '--help'),
      expected,
      verb,
    )
  }
  assert.deepEqual(found(section('SETTINGS'), /^\.B (?:-\w, )?(--[\w-]+)/gm), flags.toSorted())
  for (const name of SETTING_NAMES) assert.match(section('SETTINGS'), new RegExp(`^${envName(name)}\\b`, 'm'))
})

test('bash, zsh and fish: every verb, its options, and the settings that matter to it', () => {
  const bash = bashCompletion(tree)
  const zsh = zshCompletion(tree)
  const fish = fishCompletion(tree)
  const names = [...helps.keys()].sort()
  const settings = / {2}local settings='(.*)'/.exec(bash)![1]!
  const allOfZsh = / {2}settings=\(\n([\s\S]*?)\n {2}\)\n/.exec(zsh)![1]!
  assert.deepEqual(found(bash, /^ {4}([a-z-]+)\) echo "/gm), names)
  assert.deepEqual(found(zsh, /^ {4}'([a-z-]+):/gm), names)
  assert.deepEqual(found(fish, /__fidelity_tracker_verb' -a ([a-z-]+)/g), names)
  for (const verb of names) {
    const inBash = new RegExp(`^ {4}${verb}\\) echo "(.*)" ;;$`, 'm').exec(bash)![1]!.replace('$settings', settings)
    assert.deepEqual(found(inBash, /(--[\w-]+)/g), offered(verb), `bash: ${verb}`)
    const inZsh = new RegExp(`^ {8}${verb}\\) _arguments : \\\\\n([\\s\\S]*?) ;;$`, 'm').exec(zsh)![1]!
    const whole = inZsh.endsWith(' $settings') ? `${inZsh}\n${allOfZsh}` : inZsh
    assert.deepEqual(found(whole, /^ *'(?:\([^)]*\))?(--[\w-]+)=?\[/gm), offered(verb), `zsh: ${verb}`)
    const inFish = fish
      .split('\n')
      .filter((line) => line.includes(`'__fidelity_tracker_verb ${verb}'`))
      .join('\n')
    assert.deepEqual(
      found(inFish, / -l ([\w-]+)/g).map((name) => `--${name}`),
      offered(verb),
      `fish: ${verb}`,
    )
  }
  for (const { option, words } of wordy()) {
    assert.ok(bash.includes(`' ${option}') echo '${words}'`), `bash: ${option}`)
    assert.ok(zsh.includes(`:(${words})`), `zsh: ${option}`)
    assert.match(fish, new RegExp(` -l ${option.slice(2)} -r -f -a '${words}'`), `fish: ${option}`)
  }
})

/** The options that are one of a few words. */
function wordy(): { option: string; words: string }[] {
  const ofVerbs = tree.verbs.flatMap((verb) => verb.options)
  const all = [...ofVerbs, ...tree.settings.values()].flatMap(({ names, values }) =>
    values?.kind === 'words' ? [{ option: names.at(-1)!, words: values.words.join(' ') }] : [],
  )
  assert.ok(all.some(({ option }) => option === '--network') && all.some(({ option }) => option === '--sort'))
  return all
}

test("the manual's table of settings and the example file have the settings of help", () => {
  const manual = readFileSync(new URL('../../../docs/operating.md', import.meta.url), 'utf8')
  const rows = [
    ...manual.matchAll(/^\| (?:`(?:-\w, )?(--[\w-]+).*?`|-) \| `(FIDELITY_TRACKER_\w+)` \| `([\w-]+)` \|/gm),
  ]
  assert.deepEqual(
    rows.map(([, , , name]) => name),
    SETTING_NAMES,
  )
  assert.deepEqual(
    rows.flatMap(([, flag]) => flag ?? []),
    flags,
  )
  assert.deepEqual(
    [...exampleConfig().matchAll(/^#([a-z][\w-]*) = /gm)].map(([, name]) => name),
    SETTING_NAMES,
  )
})

test('what query offers to ask is what it understands', () => {
  const request = tree.verbs.find(({ name }) => name === 'query')!.arguments[1]!.values
  assert.ok(request.kind === 'words')
  const about: Record<string, string> = {
    why: 'x',
    watch: `${'11'.repeat(32)}:0`,
    'bond-proof': `${'11'.repeat(32)}:0`,
  }
  for (const word of request.words) assert.ok(questionOf(word, about[word]).type, word)
})

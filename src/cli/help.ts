/**
 * What help and the man page say beside verbs and options: how settings are given, what exit codes and signals mean. A
 * verb's help has its own options and its examples; the settings, which every verb takes, are listed by `start` alone.
 */
import { type Command, Help, type Option } from 'commander'
import { CONFIG_ENV, ENV_PREFIX, flagName, SETTING_NAMES, type SettingName } from '../settings.ts'

export const PROGRAM = 'fidelity-tracker'

/** A verb as it is told to people. */
export interface Verb {
  readonly command: Command
  /** The settings that change what it does; it takes the others, too, so that one command line fits all verbs. */
  readonly settings: 'all' | readonly SettingName[]
  /** What is typed after the verb, and what that is for. */
  readonly examples: { readonly [args: string]: string }
}

/** The verb whose help lists the settings. */
export const SETTINGS_VERB = 'start'

export const SETTING_SOURCES = `Every setting can be given as a flag, as ${ENV_PREFIX}<NAME> in the environment, or in a TOML file (--config, or ${CONFIG_ENV}), in that order. shared-store, which holds a password, is taken in the last two only. "print-config --example" writes a file with all of them.`

export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done, or stopped cleanly. doctor: all is well. health: takers are answered. verify: the lists agree.'],
  [
    1,
    'internal failure. doctor: warnings. health: not well. verify: the lists differ. query, register: an error came back.',
  ],
  [2, 'usage or configuration; the message names what is wrong. doctor: something is broken.'],
  [69, 'bitcoind, Tor, a tracker or the shared store was not reached.'],
  [
    74,
    'the database is not usable, or the output could not be written. check-db: there is damage that was not salvaged.',
  ],
]

export const SIGNALS: readonly (readonly [name: string, effect: string])[] = [
  ['SIGTERM', 'stops the daemon; so does SIGINT (Ctrl-C). A second one stops it at once.'],
  ['SIGUSR1', 'has it write its state to the log.'],
  ['SIGUSR2', 'makes the log more talkative, a step at a time; past trace it is as configured again.'],
]

/** Options of the verb itself: no settings, neither --config. */
export function isSettingOption({ long }: Option): boolean {
  return long === '--config' || SETTING_NAMES.some((name) => flagName(name) === long)
}

/** commander's help, with the settings only where they belong. Every option stays known, so that a misspelt one is guessed. */
export function formatHelp(command: Command, helper: Help): string {
  if (command.name() === SETTINGS_VERB || !command.parent)
    return Help.prototype.formatHelp.call(helper, command, helper)
  const own = Object.create(helper) as Help
  own.visibleOptions = (shown) => helper.visibleOptions(shown).filter((option) => !isSettingOption(option))
  return Help.prototype.formatHelp.call(own, command, own)
}

/** What stands below a verb's options. */
export function afterHelp({ command, settings, examples }: Verb): string {
  const name = `${PROGRAM} ${command.name()}`
  const lines = Object.entries(examples).map(([args, about]) => `  ${`${name} ${args}`.trim()}\n      ${about}`)
  return `\n${settingsNote(command.name(), settings)}\nExamples:\n${lines.join('\n')}`
}

function settingsNote(verb: string, names: Verb['settings']): string {
  if (verb === SETTINGS_VERB) return `${wrapped(SETTING_SOURCES)}\n`
  const where = `(${PROGRAM} ${SETTINGS_VERB} --help)`
  if (names === 'all') return `Settings: all those of ${SETTINGS_VERB}, and --config ${where}\n`
  return `Settings, as for ${SETTINGS_VERB} ${where}:\n  ${['--config', ...names.map(flagName)].join(', ')}\n`
}

/** What stands below the list of verbs. */
export function afterVerbs(): string {
  const head = ([name, meaning]: readonly [unknown, string], width: number) =>
    wrapped(meaning, { before: ' '.repeat(width + 4) }).replace(/^ */, `  ${String(name).padEnd(width)}  `)
  return [
    `\n"${PROGRAM} <verb> --help" has its options and examples,\n"man ${PROGRAM}" has everything.\n`,
    'To begin with:',
    ...Object.entries(FIRST_STEPS).map(([args, about]) => `  ${PROGRAM} ${args.padEnd(27)}  ${about}`),
    `\n${wrapped(SETTING_SOURCES)}\n`,
    'Exit codes:',
    ...EXIT_CODES.map((row) => head(row, 2)),
    '\nSignals to the daemon:',
    ...SIGNALS.map((row) => head(row, 7)),
  ].join('\n')
}

const FIRST_STEPS: Verb['examples'] = {
  doctor: 'what is missing, what to type',
  start: 'follow bitcoind, be found',
  status: 'how far it is, what it waits for',
  makers: 'whom to make a coinswap with',
  'query <host>.onion:8080 get': 'ask another tracker',
}

/** The text in lines of so many columns at the most, each with `before` before it. */
export function wrapped(text: string, { columns = 80, before = '' } = {}): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const longer = lines.length === 0 ? undefined : `${lines.at(-1)} ${word}`
    if (longer === undefined || before.length + longer.length > columns) lines.push(word)
    else lines[lines.length - 1] = longer
  }
  return lines.map((line) => before + line).join('\n')
}

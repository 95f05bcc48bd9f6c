/** The man page, fidelity-tracker(1), in the man(7) macros that both groff and mandoc read. */
import { EXIT_CODES, SETTING_SOURCES, SIGNALS, wrapped } from '../../src/cli/help.ts'
import { defaultOf, envName, type SettingName, SUBJECTS, setting } from '../../src/settings.ts'
import type { Tree, VerbFacts } from './tree.ts'

/** When the words of this file were last changed; all others are of the version that the page names. */
const DATE = '2026-11-27'

export function manPage(tree: Tree): string {
  const { program, version, about, kinds, options } = tree
  const lines = [
    `.\\" Made by "npm run build" from the verbs and settings of the program.`,
    `.TH ${program.toUpperCase().replace('-', '\\-')} 1 "${DATE}" "${program} ${version}" "User Commands"`,
    '.nh',
    '.ad l',
    '.SH NAME',
    `${literal(program)} \\- finds fidelity bonds, and answers takers about them`,
    '.SH SYNOPSIS',
    `.B ${literal(program)}`,
    '.I verb',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    ...text(about),
    ...prose(
      `The verb start is the daemon: it follows bitcoind, finds the bonds, asks makers through Tor whether they are alive, and serves its list on an onion service. The other verbs can be run at any time beside it, as the same user.`,
    ),
    ...options.flatMap(({ flags, about }) => item(literal(flags), about)),
    '.SH VERBS',
    ...kinds.flatMap(({ title, verbs }) => [`.SS ${title}`, ...verbs.flatMap((verb) => verbEntry(verb, tree))]),
    '.SH SETTINGS',
    ...text(SETTING_SOURCES),
    ...prose(`They are options of every verb, so that one command line fits all. --config <file> names the file.`),
    ...SUBJECTS.flatMap(({ title, names }) => [`.SS ${title}`, ...names.flatMap((name) => settingEntry(name, tree))]),
    '.SH FILES',
    ...FILES.flatMap(([path, about]) => item(literal(path), about)),
    '.SH EXIT STATUS',
    ...EXIT_CODES.flatMap(([code, meaning]) => item(String(code), meaning)),
    '.SH SIGNALS',
    ...SIGNALS.flatMap(([name, effect]) => item(name, effect)),
    '.SH SEE ALSO',
    ...['bitcoind', 'tor', 'torrc', 'systemctl'].map((page, at, all) => {
      const section = page === 'torrc' ? '5' : '1'
      return `.BR ${page} (${section})${at < all.length - 1 ? ',' : ''}`
    }),
  ]
  return `${lines.join('\n')}\n`
}

/** Below the data directory, and besides it. */
const FILES: readonly (readonly [string, string])[] = [
  [
    '~/.fidelity-tracker',
    'the data directory where --datadir names no other; the service has /var/lib/fidelity-tracker.',
  ],
  ['onion.key', 'in the data directory: who has it has the address. Keep a copy.'],
  ['tracker.key', 'in the data directory: signs what is announced at Nostr relays.'],
  ['/etc/fidelity-tracker.toml', "the service's settings; other verbs take them with --config."],
]

function verbEntry(verb: VerbFacts, { settings }: Tree): string[] {
  const names = ['--config', ...verb.settings.map((name) => settings.get(name)!.names.at(-1)!)]
  const others = verb.settings.length === settings.size ? ['all'] : names
  return [
    ...item(`${literal(verb.name)} ${literal(verb.usage).replace('[options]', '').trim()}`.trim(), verb.about),
    '.RS',
    ...verb.arguments.flatMap(({ values, about }) => item(literal(values.name), about)),
    ...verb.options
      .filter(({ names }) => !names.includes('--help'))
      .flatMap(({ flags, about }) => item(literal(flags), about)),
    ...(verb.examples.length === 0
      ? []
      : ['.PP', 'Settings that matter to it:', ...text(`${others.join(', ')}.`), '.PP', 'Examples:']),
    ...verb.examples.flatMap(([line, about]) => item(literal(line), about)),
    '.RE',
  ]
}

function settingEntry(name: SettingName, { settings }: Tree): string[] {
  const { about, isHidden } = setting(name)
  const value = defaultOf(name)
  return [
    ...item(literal(isHidden ? name : settings.get(name)!.flags), about),
    '.br',
    ...text(`${envName(name)}${value === undefined ? '' : `; default: ${value}`}`),
  ]
}

function item(tag: string, about: string): string[] {
  return ['.TP', `.B ${tag}`, ...text(about)]
}

function prose(words: string): string[] {
  return ['.PP', ...text(words)]
}

/** Lines of text, none of which is taken for a request. */
function text(words: string): string[] {
  const lines = wrapped(words, { columns: 76 }).split('\n')
  return lines.map((line) =>
    escaped(line)
      .replace(/(?<=^|[ "(])--?\w[\w-]*/g, (flag) => flag.replaceAll('-', '\\-'))
      .replace(/^(?=[.'])/, '\\&'),
  )
}

/** What is typed: its hyphens are those of ASCII. */
function literal(words: string): string {
  return escaped(words).replaceAll('-', '\\-')
}

function escaped(words: string): string {
  return words.replaceAll('\\', '\\e').replaceAll('~', '\\(ti').replaceAll('^', '\\(ha').replaceAll("'", '\\(aq')
}

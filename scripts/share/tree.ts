/**
 * The command line as plain data, read off the program itself: what the man page and the completions are made of. Options
 * of a verb are its own; of the settings, which every verb takes, it names those that matter to it.
 */
import type { Argument, Command, Option } from 'commander'
import { isSettingOption, PROGRAM } from '../../src/cli/help.ts'
import { commandLine } from '../../src/cli/program.ts'
import { flagName, type SettingName, SUBJECTS, setting } from '../../src/settings.ts'
import { VERSION } from '../../src/version.ts'

/** What may stand somewhere; `name` is what help calls it. */
export type Values = { readonly name: string } & (
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'file' | 'folder' | 'text' }
)

export interface OptionFacts {
  /** `-o`, `--output`. */
  readonly names: readonly string[]
  /** As help has it: `-o, --output <file>`. */
  readonly flags: string
  readonly about: string
  /** Absent for a switch. */
  readonly values?: Values
}

export interface VerbFacts {
  readonly name: string
  readonly about: string
  /** As help has it behind the verb: `[options] <file>`. */
  readonly usage: string
  readonly arguments: readonly { readonly about: string; readonly values: Values; readonly isMany: boolean }[]
  readonly options: readonly OptionFacts[]
  /** Those that matter to it, besides --config; no password. */
  readonly settings: readonly SettingName[]
  /** Whole command lines, and what each is for. */
  readonly examples: readonly (readonly [line: string, about: string])[]
}

export interface Tree {
  readonly program: string
  readonly version: string
  readonly about: string
  /** Of the program without a verb. */
  readonly options: readonly OptionFacts[]
  /** By kind, as help has them. */
  readonly kinds: readonly { readonly title: string; readonly verbs: readonly VerbFacts[] }[]
  readonly verbs: readonly VerbFacts[]
  readonly config: OptionFacts
  /** Those that are flags. */
  readonly settings: ReadonlyMap<SettingName, OptionFacts>
}

/** What completions offer after a verb: its own options, --config, and the settings that matter to it. */
export function offeredAt(verb: VerbFacts, { config, settings }: Tree): OptionFacts[] {
  const ofSettings = verb.settings.map((name) => settings.get(name)!)
  return ofSettings.length === 0 ? [...verb.options] : [...verb.options, config, ...ofSettings]
}

const SETTINGS = SUBJECTS.flatMap(({ names }) => names)

export function readTree(): Tree {
  const { program, verbs: known } = commandLine(new AbortController().signal, { dumpState() {}, changeLogLevel() {} })
  const help = program.createHelp()
  const verbNames = program.commands.map((command) => command.name())
  const flags = SETTINGS.filter((name) => !setting(name).isHidden)

  const optionFacts = (option: Option): OptionFacts => {
    const { short, long, flags, argChoices } = option
    const name = /<([^.>]+)/.exec(flags)?.[1]
    const choices =
      argChoices ?? SETTINGS.filter((known) => flagName(known) === long).map((known) => setting(known).choices)[0]
    return {
      names: [short, long].filter((text) => text !== undefined),
      flags,
      about: help.optionDescription(option),
      ...(name !== undefined && { values: valuesCalled(name, choices) }),
    }
  }
  const argumentFacts = (argument: Argument) => ({
    about: help.argumentDescription(argument),
    values: valuesCalled(argument.name(), argument.name() === 'verb' ? verbNames : argument.argChoices),
    isMany: argument.variadic,
  })
  const verbFacts = (command: Command): VerbFacts => {
    const { settings = [], examples = {} } = known.find((verb) => verb.command === command) ?? {}
    const name = command.name()
    return {
      name,
      about: command.description(),
      usage: command.usage(),
      arguments: command.registeredArguments.map(argumentFacts),
      options: help
        .visibleOptions(command)
        .filter((option) => !isSettingOption(option))
        .map(optionFacts),
      settings: settings === 'all' ? flags : flags.filter((flag) => settings.includes(flag)),
      examples: Object.entries(examples).map(([args, about]) => [`${PROGRAM} ${name} ${args}`.trim(), about]),
    }
  }

  const options = new Map(known[0]!.command.options.map((option) => [option.long!, option]))
  const kinds = Map.groupBy(program.commands, (command) => command.helpGroup().replace(/:$/, ''))
  return {
    program: PROGRAM,
    version: VERSION,
    about: program.description(),
    options: help.visibleOptions(program).map(optionFacts),
    kinds: [...kinds].map(([title, commands]) => ({ title, verbs: commands.map(verbFacts) })),
    verbs: program.commands.map(verbFacts),
    config: optionFacts(options.get('--config')!),
    settings: new Map(flags.map((name) => [name, optionFacts(options.get(flagName(name))!)])),
  }
}

/** Files and folders are told by what help calls them. */
function valuesCalled(name: string, words: readonly string[] | undefined): Values {
  if (words) return { name, kind: 'words', words }
  return { name, kind: name === 'file' || name === 'folder' ? name : 'text' }
}

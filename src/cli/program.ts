/**
 * The command line, and how one is run: commander with the verbs (verbs.ts) and their help (help.ts). Made without being
 * run, too: the man page and the completions are read off it. Failures are thrown by fate (errors.ts).
 */
import { Command, CommanderError } from 'commander'
import type { SignalHandlers } from '../daemon.ts'
import { writeFailure } from '../journal.ts'
import { VERSION } from '../version.ts'
import { addSettings } from './command.ts'
import { afterHelp, afterVerbs, formatHelp, PROGRAM, type Verb } from './help.ts'
import { addVerbs } from './verbs.ts'

/** What the verbs are added to. */
export interface VerbFrame {
  readonly signal: AbortSignal
  readonly signals: SignalHandlers
  /** Of the verb that was run. */
  exitCode: number
  /** Those that follow are of this kind, in help and man page. */
  kind(title: string): void
  /** Adds a verb with the settings as its options. */
  verb(name: string, about: string, notes: Pick<Verb, 'settings' | 'examples'>): Command
}

export interface CommandLine {
  readonly program: Command
  readonly verbs: readonly Verb[]
  /** Has the exit code of the verb that was run. */
  readonly frame: VerbFrame
}

/** `signal` and `signals` are for the verb that will be run. */
export function commandLine(signal: AbortSignal, signals: SignalHandlers): CommandLine {
  const program = new Command(PROGRAM)
    .description('Finds the fidelity bonds of coinswap makers on the Bitcoin chain and answers takers about them.')
    .usage('<verb> [options]')
    .version(VERSION, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show this')
    .configureHelp({ subcommandTerm: (command) => command.name(), formatHelp })
    .exitOverride()
    .configureOutput({ writeErr: writeFailure, outputError: (message, write) => write(oneLine(message, PROGRAM)) })
    .addHelpText('after', afterVerbs)
  const verbs: Verb[] = []
  const frame: VerbFrame = {
    signal,
    signals,
    exitCode: 0,
    kind: (title) => void program.commandsGroup(`${title}:`),
    verb(name, about, notes) {
      const command = program.command(name).description(about)
      const verb = { ...notes, command }
      verbs.push(verb)
      command.configureOutput({ outputError: (message, write) => write(oneLine(message, `${PROGRAM} ${name}`)) })
      addSettings(command)
      return command.addHelpText('after', () => afterHelp(verb))
    },
  }
  addVerbs(frame)
  addHelpVerb(program)
  return { program, verbs, frame }
}

/** Not commander's own, which lists all verbs where it doesn't know one. */
function addHelpVerb(program: Command): void {
  program
    .command('help')
    .argument('[verb]', 'without it: all verbs')
    .description('Show the help of a verb.')
    .action(async (name?: string) => {
      const command = name === undefined ? program : program.commands.find((known) => known.name() === name)
      if (command) command.outputHelp()
      else await program.parseAsync([name!], { from: 'user' }) // says that there is none, and guesses
    })
}

/** Runs one command line and returns its exit code: 2 for a wrong one, after commander has printed why. */
export async function runCli(argv: readonly string[], signal: AbortSignal, signals: SignalHandlers): Promise<number> {
  const { program, frame } = commandLine(signal, signals)
  try {
    await program.parseAsync(argv)
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : 2
  }
  return frame.exitCode
}

/** What commander says was wrong, in one line. It repeats what it did not understand; a password may be in it. */
function oneLine(message: string, command: string): string {
  const said = message
    .replace(/(unknown option '(?:--[^=']*|-[^-]))[\s\S]*?'(?=\n|$)/, "$1'")
    .replace(/(too many arguments[\s\S]*? but got \d+): [\s\S]*?\.(?=\n|$)/, '$1')
    .replace(/^error: /, '')
    .replace(/^unknown command/, 'unknown verb')
    .replace(/\n\(Did you mean (.*)\?\)/, ': did you mean $1?')
    .trimEnd()
  return `${PROGRAM}: ${said} (${command} --help)\n`
}

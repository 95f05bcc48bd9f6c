/**
 * commander: every verb with its arguments, options and help. What a verb does is loaded when it is run: the daemon, or
 * the `*-verbs.ts` beside this. Returns the exit code; failures are thrown by fate (errors.ts).
 */
import { Command, CommanderError, Option } from 'commander'
import type { SignalHandlers } from '../daemon.ts'
import { ConfigError, isAbort } from '../errors.ts'
import { writeFailure } from '../journal.ts'
import { CONFIG_ENV, ENV_PREFIX } from '../settings.ts'
import { VERSION } from '../version.ts'
import { systemClock } from '../world.ts'
import { addSettings, configOf, wholeHeight } from './command.ts'
import { EXPORT_FORMATS, EXPORT_NOUNS, type ExportFormat } from './export-words.ts'
import { MAKER_SORTS, type MakerSort } from './maker-sorts.ts'
import { COLUMNS, WIDE } from './table-options.ts'

const reading = () => import('./reading-verbs.ts')
const asking = () => import('./asking-verbs.ts')
const care = () => import('./care-verbs.ts')
const printing = () => import('./printing-verbs.ts')

/** The command line being run. */
interface Cli {
  readonly signal: AbortSignal
  exitCode: number
  /** Adds a verb with the settings as its options. */
  verb(name: string, about: string): Command
}

/** Runs one command line. Throws ConfigError for a wrong one, after commander has printed why. */
export async function runCli(argv: readonly string[], signal: AbortSignal, signals: SignalHandlers): Promise<number> {
  const program = new Command('fidelity-tracker')
    .description('Finds the fidelity bonds of coinswap makers on the Bitcoin chain and answers takers about them.')
    .version(VERSION)
    .showHelpAfterError('(add --help for what can be given)')
    .configureHelp({ sortSubcommands: false })
    .exitOverride()
    .configureOutput({ writeErr: writeFailure, outputError: (message, write) => write(withoutValues(message)) })
    .addHelpText('after', EXAMPLES)
  const cli: Cli = {
    signal,
    exitCode: 0,
    verb(name, about) {
      const command = program.command(name).description(about)
      addSettings(command)
      return command
    },
  }
  addStart(cli, signals)
  addReadingVerbs(cli)
  addAskingVerbs(cli)
  addCareVerbs(cli)
  addRegistrationVerbs(cli)
  addPrintingVerbs(cli)
  try {
    await program.parseAsync(argv)
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : 2 // commander has said what was wrong
  }
  return cli.exitCode
}

/** commander repeats what it did not understand; a password may be in it. */
function withoutValues(message: string): string {
  return message
    .replace(/(unknown option '(?:--[^=']*|-[^-]))[\s\S]*?'(?=\n|$)/, "$1'")
    .replace(/(too many arguments[\s\S]*? but got \d+): [\s\S]*?\.(?=\n|$)/, '$1.')
}

function addStart({ verb, signal }: Cli, signals: SignalHandlers): void {
  verb('start', 'Run the daemon: follow bitcoind, publish the onion service, answer requests.').action(
    async (_options: unknown, command: Command) => {
      const config = configOf(command)
      const { keepHeapsSmallAtStart } = await import('../heap.ts')
      keepHeapsSmallAtStart()
      const { openLog } = await import('../log.ts')
      const { readSupervisor } = await import('../notify.ts')
      const { runDaemon } = await import('../daemon.ts')
      const log = await openLog(config.logLevel, config.logFormat)
      try {
        const supervisor = readSupervisor(process.env, process.pid)
        await runDaemon(config, { clock: systemClock, random: Math.random, log }, signal, { signals, supervisor })
      } catch (error) {
        if (!isAbort(error, signal)) {
          if (!(error instanceof ConfigError)) log.fatal({ err: error }, 'stopped by a failure')
          throw error
        }
      }
    },
  )
}

/** The rows of this data directory, whether its daemon runs or not. */
function addReadingVerbs({ verb, signal }: Cli): void {
  verb('status', 'Show how the daemon of this data directory is doing, also when it is not running.')
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => (await reading()).showStatus(command))
  verb('bonds', 'List the live bonds of this data directory, best first.')
    .option('--all', 'also the pending, expired, spent and refused ones')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (options: { all?: boolean }, command: Command) => (await reading()).showBonds(options, command))
  verb('makers', 'List the makers with live bonds: alive or not, proven or not, fees, sizes, uptime.')
    .addOption(
      new Option('--sort <by>', 'what comes first: the highest value or uptime, the lowest fee, the most blocks left')
        .choices(MAKER_SORTS)
        .default('value'),
    )
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (options: { sort: MakerSort }, command: Command) => (await reading()).showMakers(options, command))
  verb('why', 'Say why a maker is listed or is not, or what a transaction lacks as a bond, and what to do about it.')
    .argument(
      '<address or txid>',
      '<56 characters>.onion:<port> as the maker announces it, all its ports without one; or a transaction, as bitcoin-cli prints it',
    )
    .option('--json', 'print JSON')
    .action(async (asked: string, _options: unknown, command: Command) =>
      (await reading()).showWhy(asked, command, signal),
    )
  verb('trackers', 'List the other trackers that are known, and whether their lists are ours.')
    .option('--forget <host:port>', 'forget one that was learnt; it may be learnt again an hour later, when it pings')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (options: { forget?: string }, command: Command) => (await reading()).showTrackers(options, command))
  verb('relays', 'List the watched relays: whom takers find there, who is missing, what is dead or not valid.')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => (await reading()).showRelays(command))
  verb('export', 'Write every row known here: bonds with their history, makers, other trackers, relays.')
    .argument('[what]', `${EXPORT_NOUNS.join(', ')}; without it all in JSON, bonds in CSV`)
    .addOption(new Option('--format <format>', 'json or csv').choices(EXPORT_FORMATS).default('json'))
    .option('-o, --output <file>', 'write this file, replacing it when it is whole (default: standard output)')
    .option(
      '--shared',
      'instead: all of the shared store as the database of a tracker that goes on alone; --output names it, and is never overwritten',
    )
    .option('--json', 'with --shared: print JSON')
    .action(
      async (
        what: string | undefined,
        options: { format: ExportFormat; output?: string; shared?: boolean },
        command: Command,
      ) => {
        if (options.shared) await (await care()).moveOut(what, options, command, signal)
        else (await reading()).writeExport(what, options, command)
      },
    )
}

/** Verbs that ask a tracker, this one or another, through Tor or on this machine. */
function addAskingVerbs(cli: Cli): void {
  const { verb, signal } = cli
  verb('query', 'Ask any tracker, through Tor: get, status, ping, bonds, bond-proof, watch, why or trackers.')
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .argument('<request>', 'get | status | ping | bonds | bond-proof | watch | why | trackers')
    .argument('[about]', 'txid:vout for bond-proof and watch, a maker for why')
    .option('--all', 'bonds: also the pending, expired, spent and refused ones')
    .option(
      '--no-register',
      'watch: only ask. Without it the tracker is asked as takers do, and keeps watching for 2,016 blocks: one of its places',
    )
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(
      async (
        target: string,
        word: string,
        about: string | undefined,
        options: { all?: boolean; register?: boolean; wide?: boolean; columns?: readonly string[] },
        command: Command,
      ) => {
        cli.exitCode = await (await asking()).queryTracker(target, word, about, options, command, signal)
      },
    )
  verb('verify', "Re-check another tracker's list row by row against our own bitcoind: what it invents, what it omits.")
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .option('--json', 'print JSON')
    .action(async (target: string, _options: unknown, command: Command) => {
      cli.exitCode = await (await asking()).verifyList(target, command, signal)
    })
  verb('watch', 'Follow outpoints live: who spends them, in the mempool and in blocks. Ends with Ctrl-C.')
    .argument('<outpoint...>', 'txid:vout, as bitcoin-cli prints it')
    .option(
      '--tracker <host:port>',
      'ask this tracker, an onion address through Tor (default: the one of these settings)',
    )
    .option('--json', 'print a line of JSON for every change')
    .action(async (outpoints: string[], options: { tracker?: string }, command: Command) =>
      (await asking()).followOutpoints(outpoints, options, command, signal),
    )
}

/** Verbs of whoever looks after a tracker. */
function addCareVerbs(cli: Cli): void {
  const { verb, signal } = cli
  verb(
    'health',
    'Exit with 0 when the daemon of this data directory answers takers, else with 1; for container checks.',
  )
    .option('--live', 'only whether it runs: for platforms that restart what is not healthy')
    .option('--json', 'print JSON')
    .action(async (options: { live?: boolean }, command: Command) => {
      cli.exitCode = (await reading()).showHealth(options, command)
    })
  verb('doctor', 'Look at everything the daemon needs, and say what to type where something is wrong.')
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => {
      cli.exitCode = await (await care()).runDoctor(command)
    })
  verb('clients', 'List who is connected to the running daemon, and what each costs. Strangers have no names.')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => (await care()).showClients(command, signal))
  verb('backup', 'Copy the database to <file>, also while the daemon runs. Never overwrites.')
    .argument('<file>', 'the copy; appears when it is whole')
    .action(async (file: string, _options: unknown, command: Command) => (await care()).backup(file, command, signal))
  verb(
    'check-db',
    'Read the whole database and check it, and whether the shared store has as many registrations; exits with 0 when it is sound, else with 74.',
  )
    .option(
      '--salvage',
      'put a new database with what can be saved in the place of a damaged one, which is kept. The daemon must not run',
    )
    .option('--json', 'print JSON')
    .action(async (options: { salvage?: boolean }, command: Command) => {
      cli.exitCode = await (await care()).checkDb(options, command, signal)
    })
  verb(
    'rescan',
    'Forget the blocks from a height on, so that the next start scans them again. The daemon must not run.',
  )
    .requiredOption('--from <height>', 'the lowest block to scan again', wholeHeight)
    .action(async (options: { from: number }, command: Command) => (await care()).rescan(options, command, signal))
}

/** `register`, for takers, and `watches`, for whoever runs a tracker. */
function addRegistrationVerbs(cli: Cli): void {
  const { verb, signal } = cli
  verb('register', 'Have outpoints watched until a height, whoever is connected, with the effort that is asked for.')
    .argument('<outpoint...>', 'txid:vout, as bitcoin-cli prints it')
    .option('--blocks <n>', 'for how many blocks from now on', wholeHeight, 2_016)
    .option(
      '--tracker <host:port>',
      'ask this tracker, an onion address through Tor (default: the one of these settings)',
    )
    .option('--json', 'print JSON')
    .action(async (outpoints: string[], options: { blocks: number; tracker?: string }, command: Command) => {
      cli.exitCode = await (await asking()).register(outpoints, options, command, signal)
    })
  verb('watches', 'Show how many outpoints takers have registered, and when they end.')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option(
      '--drop <outpoint...>',
      'end these registrations, which their takers rely on. Without a shared store the daemon must not run',
    )
    .option('--drop-after <height>', 'end those that were asked for until after this block', wholeHeight)
    .option('--json', 'print JSON')
    .action(async (options: { drop?: string[]; dropAfter?: number }, command: Command) => {
      cli.exitCode = await (await reading()).watches(options, command, signal)
    })
}

function addPrintingVerbs({ verb }: Cli): void {
  verb('print-config', 'Print every setting with its value and where it came from.').action(
    async (_options: unknown, command: Command) => (await printing()).printConfig(command),
  )
  verb('print-torrc', 'Print the lines that Tor needs in its torrc for these settings.')
    .option('--onionbalance', 'one address over several trackers instead: what the balancer and each of them needs')
    .action(async (options: { onionbalance?: boolean }, command: Command) =>
      (await printing()).printTorrc(command, options.onionbalance === true),
    )
}

const EXAMPLES = `
Every setting can be given as a flag, as ${ENV_PREFIX}<NAME> in the environment, or in a TOML file
(--config, or ${CONFIG_ENV}), in that order; shared-store, which holds a password, only in the last two.

Examples:
  fidelity-tracker start                                    follow bitcoind on main, cookie and Tor as usual
  fidelity-tracker start --network signet --rpc 127.0.0.1:38332
  fidelity-tracker start --config /etc/fidelity-tracker.toml
  fidelity-tracker status                                   how far it is, and what it waits for
  fidelity-tracker bonds --all --json                       everything known, with reasons
  fidelity-tracker makers --sort uptime                     who is alive, and on which terms
  fidelity-tracker relays                                   whom takers find at the public relays
  fidelity-tracker why <host>.onion:<port>                  why a maker is not listed, and what to do
  fidelity-tracker watch <txid>:<vout>                      be told when an output is spent
  fidelity-tracker register <txid>:<vout>                   have it watched, whoever is connected
  fidelity-tracker query <host>.onion:8080 get              ask another tracker for its makers
  fidelity-tracker query <host>.onion:8080 bonds --all      its bonds, with values and makers
  fidelity-tracker verify <host>.onion:8080                 check every row of its list against our bitcoind
  fidelity-tracker print-torrc                              what torrc needs
  fidelity-tracker doctor                                   what is wrong here, and what to type
  fidelity-tracker export makers --format csv               for a spreadsheet

Exit codes: 0 stopped cleanly, 1 internal failure, 2 usage or configuration,
69 bitcoind, Tor, a tracker or the shared store not reached, 74 database unusable, or output not written.
doctor: 0 fine, 1 warnings, 2 failures. health: 0 healthy, 1 not. verify: 0 agrees, 1 differs.
check-db: 74 when it finds damage that it did not salvage.

Signals to the daemon: SIGTERM stops it, SIGUSR1 writes its state to the log, SIGUSR2 makes the log
more talkative a step at a time and, past trace, as talkative as configured.`

/** commander: each verb is parse → one call → print. Returns the exit code; failures are thrown by fate (errors.ts). */
import { Command, CommanderError, Option } from 'commander'
import { type Config, formatConfig, type RawValues, readConfig } from '../config.ts'
import { runDaemon } from '../daemon.ts'
import { ConfigError, isAbort } from '../errors.ts'
import { openLog } from '../log.ts'
import { ENV_PREFIX, flagName, SETTING_NAMES, setting } from '../settings.ts'
import { readTip } from '../store/tip.ts'
import { TORRC_DEFAULTS, torrcFor } from '../tor/torrc.ts'
import { VERSION } from '../version.ts'
import { systemClock } from '../world.ts'
import {
  describeMakers,
  describeWhy,
  MAKER_SORTS,
  type MakerSort,
  readMakerRows,
  readWhy,
  sortMakers,
  whyJson,
} from './makers.ts'
import { describeReply, jsonOf, localAddress, query, requestOf, trackerAddress } from './query.ts'
import { describeSpend } from './text.ts'
import { describeBonds, describeStatus, openExisting, readBondRows, readStatus } from './views.ts'
import { outpointsOf, watchLive } from './watch.ts'

/** Runs one command line. Throws ConfigError for a wrong one, after commander has printed why. */
export async function runCli(argv: readonly string[], signal: AbortSignal): Promise<number> {
  let exitCode = 0
  const program = new Command('fidelity-tracker')
    .description('Finds the fidelity bonds of coinswap makers on the Bitcoin chain and answers takers about them.')
    .version(VERSION)
    .showHelpAfterError('(add --help for what can be given)')
    .configureHelp({ sortSubcommands: false })
    .exitOverride()
    .addHelpText('after', EXAMPLES)

  const verb = (name: string, about: string) => {
    const command = program.command(name).description(about)
    addSettings(command)
    return command
  }
  const isJson = (command: Command) => command.opts<{ json?: boolean }>().json === true

  verb('start', 'Run the daemon: follow bitcoind, publish the onion service, answer requests.').action(
    async (_options: unknown, command: Command) => {
      const config = configOf(command)
      const log = openLog(config.logLevel)
      try {
        await runDaemon(config, { clock: systemClock, random: Math.random, log }, signal)
      } catch (error) {
        if (!isAbort(error, signal)) {
          if (!(error instanceof ConfigError)) log.fatal({ err: error }, 'stopped by a failure')
          throw error
        }
      }
    },
  )
  verb('status', 'Show how the daemon of this data directory is doing, also when it is not running.')
    .option('--json', 'print JSON')
    .action((_options: unknown, command: Command) => {
      using db = openExisting(configOf(command))
      const status = readStatus(db, configOf(command))
      print(isJson(command) ? JSON.stringify(status, null, 2) : describeStatus(status))
    })
  verb('bonds', 'List the live bonds of this data directory, best first.')
    .option('--all', 'also the pending, expired, spent and refused ones')
    .option('--json', 'print JSON')
    .action((options: { all?: boolean }, command: Command) => {
      using db = openExisting(configOf(command))
      const rows = readBondRows(db).filter(({ state }) => options.all === true || state === 'live')
      print(isJson(command) ? JSON.stringify(rows, null, 2) : describeBonds(rows, readTip(db)?.height))
    })
  verb('makers', 'List the makers with live bonds: alive or not, proven or not, fees, sizes, uptime.')
    .addOption(
      new Option('--sort <by>', 'what comes first: the highest value or uptime, the lowest fee, the most blocks left')
        .choices(MAKER_SORTS)
        .default('value'),
    )
    .option('--json', 'print JSON')
    .action((options: { sort: MakerSort }, command: Command) => {
      const config = configOf(command)
      using db = openExisting(config)
      const rows = sortMakers(readMakerRows(db, config, systemClock.nowMs()), options.sort)
      print(isJson(command) ? JSON.stringify(rows, null, 2) : describeMakers(rows, readTip(db)?.height))
    })
  verb('why', 'Say why a maker is listed or is not, and what to do about it.')
    .argument('<address>', 'as the maker announces it: <56 characters>.onion:<port>; all its ports without one')
    .option('--json', 'print JSON')
    .action((address: string, _options: unknown, command: Command) => {
      const config = configOf(command)
      using db = openExisting(config)
      const why = readWhy(db, config, address, systemClock.nowMs())
      print(isJson(command) ? JSON.stringify(whyJson(why), null, 2) : describeWhy(why))
    })
  verb('query', 'Ask any tracker, through Tor: get, status, ping, watch <txid:vout>, or why <address>.')
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .argument('<request>', 'get | status | ping | watch | why')
    .argument('[about]', 'txid:vout for watch, a maker for why')
    .option('--json', 'print JSON')
    .action(async (target: string, word: string, outpoint: string | undefined, _options: unknown, command: Command) => {
      const reply = await query(configOf(command), target, requestOf(word, outpoint), signal)
      print(isJson(command) ? JSON.stringify(jsonOf(reply), null, 2) : describeReply(reply))
      exitCode = reply.type === 'Error' ? 1 : 0
    })
  verb('watch', 'Follow outpoints live: who spends them, in the mempool and in blocks. Ends with Ctrl-C.')
    .argument('<outpoint...>', 'txid:vout, as bitcoin-cli prints it')
    .option(
      '--tracker <host:port>',
      'ask this tracker, an onion address through Tor (default: the one of these settings)',
    )
    .option('--json', 'print a line of JSON for every change')
    .action(async (texts: string[], options: { tracker?: string }, command: Command) => {
      const config = configOf(command)
      const outpoints = outpointsOf(texts)
      const address = options.tracker === undefined ? localAddress(config) : trackerAddress(options.tracker)
      for await (const event of watchLive(config, address, outpoints, signal)) {
        if (event.kind === 'lost') process.stderr.write(`${event.detail}: trying again\n`)
        else print(isJson(command) ? JSON.stringify(jsonOf(event.spend)) : describeSpend(event.spend))
      }
    })
  verb('print-config', 'Print every setting with its value and where it came from.').action(
    (_options: unknown, command: Command) => print(formatConfig(configOf(command)).trimEnd()),
  )
  verb('print-torrc', 'Print the lines that Tor needs in its torrc for these settings.').action(
    (_options: unknown, command: Command) => {
      const { tor, listen } = configOf(command)
      const base = { ...TORRC_DEFAULTS, virtualPort: listen.port, target: listen, managed: tor.kind === 'torrc' }
      const socks = tor.kind === 'none' ? base.socks : tor.socks
      const control = tor.kind === 'control' ? tor.control : base.control
      print(torrcFor({ ...base, socks, control }).trimEnd())
    },
  )

  try {
    await program.parseAsync(argv)
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : 2 // commander has said what was wrong
  }
  return exitCode
}

const EXAMPLES = `
Every setting can be given as a flag, as ${ENV_PREFIX}<NAME> in the environment, or in a TOML file
(--config, or ${ENV_PREFIX}CONFIG), in that order.

Examples:
  fidelity-tracker start                                    follow bitcoind on main, cookie and Tor as usual
  fidelity-tracker start --network signet --rpc 127.0.0.1:38332
  fidelity-tracker start --config /etc/fidelity-tracker.toml
  fidelity-tracker status                                   how far it is, and what it waits for
  fidelity-tracker bonds --all --json                       everything known, with reasons
  fidelity-tracker makers --sort uptime                     who is alive, and on which terms
  fidelity-tracker why <host>.onion:<port>                  why a maker is not listed, and what to do
  fidelity-tracker watch <txid>:<vout>                      be told when an output is spent
  fidelity-tracker query <host>.onion:8080 get              ask another tracker for its makers
  fidelity-tracker print-torrc                              what torrc needs

Exit codes: 0 stopped cleanly, 1 internal failure, 2 usage or configuration,
69 bitcoind or Tor not reached within --start-timeout, 74 database unusable.`

function addSettings(command: Command): void {
  command.option('--config <file>', 'read settings from this TOML file')
  for (const name of SETTING_NAMES) {
    const { argument, short, about, defaultText, default: value } = setting(name)
    const long = flagName(name)
    const flags = [short, long].filter(Boolean).join(', ') + (argument ? ` ${argument}` : '')
    const shown = defaultText ?? (typeof value === 'boolean' || value === undefined ? undefined : String(value))
    command.addOption(new Option(flags, about + (shown === undefined ? '' : ` (default: ${shown})`)))
  }
}

function configOf(command: Command): Config {
  const given: Record<string, unknown> = {}
  for (const name of SETTING_NAMES) {
    const attribute = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
    if (command.getOptionValueSource(attribute) === 'cli') given[name] = command.getOptionValue(attribute)
  }
  return readConfig({
    flags: given as RawValues,
    env: process.env,
    configFile: command.opts<{ config?: string }>().config,
  })
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/**
 * commander: each verb is parse → one call → print. The daemon is loaded only to be started. Returns the exit code;
 * failures are thrown by fate (errors.ts).
 */
import { Command, CommanderError, Option } from 'commander'
import type { HeightRange } from '../chain/types.ts'
import { formatConfig } from '../config.ts'
import type { SignalHandlers } from '../daemon.ts'
import { examine } from '../doctor/doctor.ts'
import { broken, doctorExitCode, type Finding } from '../doctor/finding.ts'
import { ConfigError, isAbort } from '../errors.ts'
import { writeWhole } from '../files.ts'
import { CONFIG_ENV, ENV_PREFIX } from '../settings.ts'
import { backupDatabase } from '../store/backup.ts'
import { databasePath, openExisting } from '../store/open.ts'
import { reachableAddress } from '../tor/address.ts'
import { TORRC_DEFAULTS, torrcFor } from '../tor/torrc.ts'
import { VERSION } from '../version.ts'
import { bondRows } from '../views/bonds.ts'
import { readFacts, readHealth, readStatus } from '../views/closed.ts'
import type { Facts } from '../views/facts.ts'
import { makerRows } from '../views/makers.ts'
import { bondSchema, makerSchema, relaySchema, trackerSchema } from '../views/schemas.ts'
import { trackerRows } from '../views/trackers.ts'
import { why } from '../views/why.ts'
import { systemClock } from '../world.ts'
import { checkDataDir, describeCheck, describeSalvage, salvageDataDir } from './check-db.ts'
import { readClients } from './clients.ts'
import { addSettings, configFileOf, configOf, isJson, print, printJson, shownRows, wholeHeight } from './command.ts'
import { EXPORT_FORMATS, EXPORT_NOUNS, type ExportFormat, type ExportNoun, exportRows } from './export.ts'
import { forgetTracker } from './forget.ts'
import { checkProof, describeProofVerdict, describeReply, jsonOf, query, questionOf, trackerAddress } from './query.ts'
import { addRegistrationVerbs } from './registration-verbs.ts'
import { rescanFrom } from './rescan.ts'
import * as text from './text.ts'
import { describeVerification, jsonOfVerification, verifyTracker } from './verify.ts'
import { outpointsOf, watchLive } from './watch.ts'

/** Exit code of a database that can't be relied on, as when it can't be read. */
const DAMAGED = 74

/** The command line being run. */
export interface Cli {
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
    .configureOutput({ outputError: (message, write) => write(withoutValues(message)) })
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
      const { openLog } = await import('../log.ts')
      const { readSupervisor } = await import('../notify.ts')
      const { runDaemon } = await import('../daemon.ts')
      const log = openLog(config.logLevel)
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

/** The rows of this data directory, whether its daemon runs or not: with --json as HTTP sends them, else as text. */
function addReadingVerbs({ verb }: Cli): void {
  const show = <T>(
    command: Command,
    rowsOf: (facts: Facts) => T,
    describe: (rows: T, height: number | null, unseen: HeightRange | undefined) => string,
  ) =>
    readFacts(configOf(command), systemClock, (facts) => {
      const rows = rowsOf(facts)
      if (isJson(command)) printJson(rows)
      else print(describe(rows, facts.chain.tip()?.height ?? null, facts.unseen()))
    })
  verb('status', 'Show how the daemon of this data directory is doing, also when it is not running.')
    .option('--json', 'print JSON')
    .action((_options: unknown, command: Command) => show(command, readStatus, text.describeStatus))
  verb('bonds', 'List the live bonds of this data directory, best first.')
    .option('--all', 'also the pending, expired, spent and refused ones')
    .option('--json', 'print JSON')
    .action(({ all }: { all?: boolean }, command: Command) => {
      const wanted = (facts: Facts) => bondRows(facts).filter(({ state }) => all === true || state === 'live')
      show(command, (facts) => text.sortBonds(shownRows('bonds', bondSchema, wanted(facts))), text.describeBonds)
    })
  verb('makers', 'List the makers with live bonds: alive or not, proven or not, fees, sizes, uptime.')
    .addOption(
      new Option('--sort <by>', 'what comes first: the highest value or uptime, the lowest fee, the most blocks left')
        .choices(text.MAKER_SORTS)
        .default('value'),
    )
    .option('--json', 'print JSON')
    .action(({ sort }: { sort: text.MakerSort }, command: Command) =>
      show(
        command,
        (facts) => text.sortMakers(shownRows('makers', makerSchema, makerRows(facts)), sort),
        text.describeMakers,
      ),
    )
  verb('why', 'Say why a maker is listed or is not, and what to do about it.')
    .argument('<address>', 'as the maker announces it: <56 characters>.onion:<port>; all its ports without one')
    .option('--json', 'print JSON')
    .action((address: string, _options: unknown, command: Command) =>
      show(command, (facts) => why(facts, address), text.describeWhy),
    )
  verb('trackers', 'List the other trackers that are known, and whether their lists are ours.')
    .option('--forget <host:port>', 'forget one that was learnt; it may be learnt again an hour later, when it pings')
    .option('--json', 'print JSON')
    .action(({ forget }: { forget?: string }, command: Command) => {
      if (forget !== undefined) {
        forgetTracker(configOf(command), forget)
        if (isJson(command)) printJson({ forgotten: forget })
        else print(`${forget} is forgotten`)
      } else show(command, (facts) => shownRows('trackers', trackerSchema, trackerRows(facts)), text.describeTrackers)
    })
  verb('relays', 'List the watched relays: whom takers find there, who is missing, what is dead or not valid.')
    .option('--json', 'print JSON')
    .action((_options: unknown, command: Command) =>
      show(command, ({ relays }) => shownRows('relays', relaySchema, [...relays.rows()]), text.describeRelays),
    )
  verb('export', 'Write every row known here: bonds with their history, makers, other trackers, relays.')
    .argument('[what]', `${EXPORT_NOUNS.join(', ')}; without it all in JSON, bonds in CSV`)
    .addOption(new Option('--format <format>', 'json or csv').choices(EXPORT_FORMATS).default('json'))
    .option('-o, --output <file>', 'write this file, replacing it when it is whole (default: standard output)')
    .action((what: string | undefined, options: { format: ExportFormat; output?: string }, command: Command) => {
      if (what !== undefined && !EXPORT_NOUNS.includes(what as ExportNoun)) {
        throw new ConfigError(`${what} can't be exported: name ${EXPORT_NOUNS.join(', ')}, or nothing`)
      }
      const whole = readFacts(configOf(command), systemClock, (facts) =>
        exportRows(facts, options.format, what as ExportNoun | undefined),
      )
      if (options.output === undefined) process.stdout.write(whole)
      else writeWhole(options.output, whole)
    })
}

/** Verbs that ask a tracker, this one or another, through Tor or on this machine. */
function addAskingVerbs(cli: Cli): void {
  const { verb, signal } = cli
  verb('query', 'Ask any tracker, through Tor: get, status, ping, bonds, bond-proof, watch, why or trackers.')
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .argument('<request>', 'get | status | ping | bonds | bond-proof | watch | why | trackers')
    .argument('[about]', 'txid:vout for bond-proof and watch, a maker for why')
    .option('--all', 'bonds: also the pending, expired, spent and refused ones')
    .option('--json', 'print JSON')
    .action(
      async (target: string, word: string, about: string | undefined, options: { all?: boolean }, command: Command) => {
        const config = configOf(command)
        const question = questionOf(word, about, options)
        const reply = await query(config, target, question, signal)
        cli.exitCode = reply.type === 'Error' ? 1 : 0
        if (question.type !== 'BondProof' || reply.type !== 'BondProof') {
          if (isJson(command)) printJson(jsonOf(reply))
          else print(describeReply(reply))
          return
        }
        const verdict = checkProof(reply, question.outpoint, config)
        if (!verdict.ok) cli.exitCode = 1
        if (isJson(command)) {
          const block = verdict.ok ? verdict.blockHash : null
          const fault = verdict.ok ? null : verdict.fault
          printJson({ ...jsonOf(reply), holds: verdict.ok, fault, block_hash: block })
        } else print(`${describeReply(reply)}\n${describeProofVerdict(verdict, reply.height)}`)
      },
    )
  verb('verify', "Re-check another tracker's list row by row against our own bitcoind: what it invents, what it omits.")
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .option('--json', 'print JSON')
    .action(async (target: string, _options: unknown, command: Command) => {
      const verification = await verifyTracker(configOf(command), trackerAddress(target), signal)
      if (isJson(command)) printJson(jsonOfVerification(verification))
      else print(describeVerification(verification))
      cli.exitCode = verification.agrees ? 0 : 1
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
      const address = options.tracker === undefined ? reachableAddress(config.listen) : trackerAddress(options.tracker)
      for await (const event of watchLive(config, address, outpoints, signal)) {
        if (event.kind === 'lost') process.stderr.write(`${event.detail}: trying again\n`)
        else print(isJson(command) ? JSON.stringify(event.row) : text.describeSpend(event.row))
      }
    })
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
    .action((options: { live?: boolean }, command: Command) => {
      const health = readHealth(configOf(command).dataDir, systemClock.nowMs())
      if (isJson(command)) printJson(health)
      else print(health.detail)
      cli.exitCode = (options.live ? health.alive : health.ready) ? 0 : 1
    })
  verb('doctor', 'Look at everything the daemon needs, and say what to type where something is wrong.')
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => {
      const findings = await examineWith(command)
      if (isJson(command)) printJson(findings)
      else print(text.describeDoctor(findings))
      cli.exitCode = doctorExitCode(findings)
    })
  verb('clients', 'List who is connected to the running daemon, and what each costs. Strangers have no names.')
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => {
      const rows = await readClients(configOf(command), signal)
      if (isJson(command)) printJson(rows)
      else print(text.describeClients(rows))
    })
  verb('backup', 'Copy the database to <file>, also while the daemon runs. Never overwrites.')
    .argument('<file>', 'the copy; appears when it is whole')
    .action(async (file: string, _options: unknown, command: Command) => {
      const { dataDir, network } = configOf(command)
      openExisting(dataDir, network)[Symbol.dispose]()
      const bytes = await backupDatabase(databasePath(dataDir), file, signal)
      print(`${file}: ${(bytes / 1e6).toFixed(1)} MB, checked`)
      print(`The onion key is not in it. Who has it has the address; keep a copy: ${dataDir}/onion.key`)
    })
  verb('check-db', 'Read the whole database and check it; exits with 0 when it is sound, else with 74.')
    .option(
      '--salvage',
      'put a new database with what can be saved in the place of a damaged one, which is kept. The daemon must not run',
    )
    .option('--json', 'print JSON')
    .action((options: { salvage?: boolean }, command: Command) => {
      const config = configOf(command)
      const database = databasePath(config.dataDir)
      const salvage = options.salvage ? salvageDataDir(config) : undefined
      if (salvage) {
        if (isJson(command)) printJson({ database, ok: true, salvaged: salvage })
        else print(describeSalvage(database, salvage))
        return
      }
      const check = checkDataDir(config)
      const ok = check.complaints.length === 0
      if (isJson(command)) printJson({ database, ok, complaints: check.complaints })
      else print(describeCheck(check))
      cli.exitCode = ok ? 0 : DAMAGED
    })
  verb(
    'rescan',
    'Forget the blocks from a height on, so that the next start scans them again. The daemon must not run.',
  )
    .requiredOption('--from <height>', 'the lowest block to scan again', wholeHeight)
    .action(async (options: { from: number }, command: Command) => {
      const result = await rescanFrom(configOf(command), options.from, systemClock, signal, print)
      const rest =
        result.tipHeight === undefined
          ? 'Nothing is left: the next start scans the whole window, or what bitcoind has of it.'
          : `The tip is now block ${result.tipHeight}.`
      print(`${result.blocksTakenBack} blocks taken back, down to ${result.from}. ${rest}`)
      print(
        'Start the daemon. Onion key, registrations and history are kept; what bitcoind has pruned is not read again: without it no list is given, unless --serve-partial is set.',
      )
    })
}

/** Settings that can't be read are a finding too, and the only one. */
async function examineWith(command: Command): Promise<Finding[]> {
  try {
    return await examine(configOf(command), configFileOf(command), systemClock)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return [broken('config', error.message, 'correct the setting it names; print-config shows all of them')]
  }
}

function addPrintingVerbs({ verb }: Cli): void {
  verb('print-config', 'Print every setting with its value and where it came from.').action(
    (_options: unknown, command: Command) => print(formatConfig(configOf(command)).trimEnd()),
  )
  verb('print-torrc', 'Print the lines that Tor needs in its torrc for these settings.').action(
    (_options: unknown, command: Command) => {
      const { tor, listen, nostr, wire } = configOf(command)
      const options = {
        ...TORRC_DEFAULTS,
        ...(tor.kind !== 'none' && { socks: tor.socks, streamsPerCircuit: tor.streamsPerCircuit }),
        ...(tor.kind === 'control' && { control: tor.control }),
        virtualPort: listen.port,
        target: reachableAddress(listen),
        nostr: nostr.listen && reachableAddress(nostr.listen),
        managed: tor.kind === 'torrc',
        circuitIds: wire.circuitIds,
      }
      print(torrcFor(options).trimEnd())
    },
  )
}

const EXAMPLES = `
Every setting can be given as a flag, as ${ENV_PREFIX}<NAME> in the environment, or in a TOML file
(--config, or ${CONFIG_ENV}), in that order.

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
69 bitcoind, Tor or a tracker not reached, 74 database unusable.
doctor: 0 fine, 1 warnings, 2 failures. health: 0 healthy, 1 not. verify: 0 agrees, 1 differs.
check-db: 74 when it finds damage that it did not salvage.

Signals to the daemon: SIGTERM stops it, SIGUSR1 writes its state to the log, SIGUSR2 makes the log
more talkative a step at a time and, past trace, as talkative as configured.`

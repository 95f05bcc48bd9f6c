/** commander: each verb is parse → one call → print. Returns the exit code; failures are thrown by fate (errors.ts). */
import { Command, CommanderError, Option } from 'commander'
import { formatConfig } from '../config.ts'
import { runDaemon } from '../daemon.ts'
import { ConfigError, isAbort } from '../errors.ts'
import { openLog } from '../log.ts'
import { readSupervisor } from '../notify.ts'
import type { Wishes } from '../report.ts'
import { ENV_PREFIX } from '../settings.ts'
import { readTip } from '../store/tip.ts'
import { reachableAddress } from '../tor/address.ts'
import { TORRC_DEFAULTS, torrcFor } from '../tor/torrc.ts'
import { VERSION } from '../version.ts'
import { systemClock } from '../world.ts'
import { addCareVerbs } from './care-verbs.ts'
import { addSettings, configOf, isJson, print } from './command.ts'
import { describeFindings, jsonOfFindings } from './findings.ts'
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
import { checkProof, describeProofVerdict, describeReply, jsonOf, query, questionOf, trackerAddress } from './query.ts'
import { describeSpend } from './text.ts'
import { describeTrackers, readTrackerRows } from './trackers.ts'
import { verifyTracker } from './verify.ts'
import { describeBonds, describeStatus, openExisting, readBondRows, readStatus } from './views.ts'
import { outpointsOf, watchLive } from './watch.ts'

/** Runs one command line. Throws ConfigError for a wrong one, after commander has printed why. */
export async function runCli(argv: readonly string[], signal: AbortSignal, wishes: Wishes): Promise<number> {
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

  verb('start', 'Run the daemon: follow bitcoind, publish the onion service, answer requests.').action(
    async (_options: unknown, command: Command) => {
      const config = configOf(command)
      const log = openLog(config.logLevel)
      try {
        const supervisor = readSupervisor(process.env, process.pid)
        await runDaemon(config, { clock: systemClock, random: Math.random, log }, signal, { wishes, supervisor })
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
  addCareVerbs(verb, signal, (code) => {
    exitCode = code
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
  verb('trackers', 'List the other trackers that are known, and whether their lists are ours.')
    .option('--json', 'print JSON')
    .action((_options: unknown, command: Command) => {
      using db = openExisting(configOf(command))
      const rows = readTrackerRows(db)
      print(isJson(command) ? JSON.stringify(rows, null, 2) : describeTrackers(rows))
    })
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
        exitCode = reply.type === 'Error' ? 1 : 0
        if (question.type !== 'BondProof' || reply.type !== 'BondProof') {
          print(isJson(command) ? JSON.stringify(jsonOf(reply), null, 2) : describeReply(reply))
          return
        }
        const verdict = checkProof(reply, question.outpoint, config)
        if (!verdict.ok) exitCode = 1
        if (isJson(command)) {
          const block = verdict.ok ? verdict.blockHash : null
          const fault = verdict.ok ? null : verdict.fault
          print(JSON.stringify({ ...jsonOf(reply), holds: verdict.ok, fault, block_hash: block }, null, 2))
        } else print(`${describeReply(reply)}\n${describeProofVerdict(verdict, reply.height)}`)
      },
    )
  verb('verify', "Re-check another tracker's list row by row against our own bitcoind: what it invents, what it omits.")
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .option('--json', 'print JSON')
    .action(async (target: string, _options: unknown, command: Command) => {
      const findings = await verifyTracker(configOf(command), trackerAddress(target), signal)
      print(isJson(command) ? JSON.stringify(jsonOfFindings(findings), null, 2) : describeFindings(findings))
      exitCode = findings.agrees ? 0 : 1
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
  fidelity-tracker query <host>.onion:8080 bonds --all      its bonds, with values and makers
  fidelity-tracker verify <host>.onion:8080                 check every row of its list against our bitcoind
  fidelity-tracker print-torrc                              what torrc needs
  fidelity-tracker doctor                                   what is wrong here, and what to type

Exit codes: 0 stopped cleanly, 1 internal failure, 2 usage or configuration,
69 bitcoind, Tor or a tracker not reached, 74 database unusable.
doctor: 0 fine, 1 warnings, 2 failures. health: 0 healthy, 1 not. verify: 0 agrees, 1 differs.
check-db: 74 when it finds damage.

Signals to the daemon: SIGTERM stops it, SIGUSR1 writes its state to the log, SIGUSR2 makes the log
more talkative a step at a time and, past trace, as talkative as configured.`

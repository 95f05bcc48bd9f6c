/**
 * Every verb with its arguments, options and examples, of which help, man page and completions are made. What a verb does
 * is loaded when it is run: the daemon, or the `*-verbs.ts` beside this.
 */
import { Argument, type Command, Option } from 'commander'
import { wholeHeight } from './command.ts'
import { EXPORT_FORMATS, EXPORT_NOUNS, type ExportFormat, type ExportNoun } from './export-words.ts'
import { MAKER_SORTS, type MakerSort } from './maker-sorts.ts'
import type { VerbFrame } from './program.ts'
import { COLUMNS, WIDE } from './table-options.ts'

const TRACKER = new Option(
  '--tracker <host:port>',
  'ask this tracker, an onion address through Tor (default: the one of these settings)',
)
/** What `query` knows to ask. */
const REQUEST_WORDS = ['get', 'status', 'ping', 'bonds', 'bond-proof', 'watch', 'why', 'trackers'] as const

/** The settings of verbs that look into the data directory. */
const OWN_DATA = ['network', 'datadir'] as const
/** Those of verbs that ask a tracker, an onion address through Tor. */
const THROUGH_TOR = ['network', 'socks-port', 'tor'] as const

const reading = () => import('./reading-verbs.ts')
const asking = () => import('./asking-verbs.ts')
const care = () => import('./care-verbs.ts')
const printing = () => import('./printing-verbs.ts')

export function addVerbs(frame: VerbFrame): void {
  frame.kind('The daemon')
  addStart(frame)
  frame.kind('What it knows, whether it runs or not')
  addReadingVerbs(frame)
  frame.kind('Asking a tracker, this one or another')
  addAskingVerbs(frame)
  frame.kind('Looking after a tracker')
  addCareVerbs(frame)
  frame.kind('Settings and help')
  addPrintingVerbs(frame)
}

function addStart({ verb, signal, signals }: VerbFrame): void {
  verb('start', 'Run the daemon: follow bitcoind, publish the onion service, answer requests.', {
    settings: 'all',
    examples: {
      '': 'on main, with bitcoind and Tor where they usually are',
      '--network signet --rpc 127.0.0.1:38332': 'another network',
      '--config /etc/fidelity-tracker.toml': 'with a file of settings, as the service has it',
    },
  }).action(async (_options: unknown, command: Command) =>
    (await import('./start.ts')).runStart(command, signal, signals),
  )
}

/** The rows of this data directory, whether its daemon runs or not. */
function addReadingVerbs(frame: VerbFrame): void {
  const { verb, signal } = frame
  verb('status', 'Show how the daemon of this data directory is doing, also when it is not running.', {
    settings: OWN_DATA,
    examples: { '': 'how far it is, and what it waits for', '--json': 'for programs, as /api/v1/status has it' },
  })
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => (await reading()).showStatus(command))
  verb('bonds', 'List the live bonds of this data directory, best first.', {
    settings: OWN_DATA,
    examples: { '': 'the live ones', '--all --json': 'everything known, with reasons' },
  })
    .option('--all', 'also the pending, expired, spent and refused ones')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (options: { all?: boolean }, command: Command) => (await reading()).showBonds(options, command))
  verb('makers', 'List the makers with live bonds: alive or not, proven or not, fees, sizes, uptime.', {
    settings: OWN_DATA,
    examples: { '': 'the most valuable bonds first', '--sort fee': 'the cheapest makers first' },
  })
    .addOption(
      new Option('--sort <by>', 'what comes first: the highest value or uptime, the lowest fee, the most blocks left')
        .choices(MAKER_SORTS)
        .default('value'),
    )
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (options: { sort: MakerSort }, command: Command) => (await reading()).showMakers(options, command))
  verb('why', 'Say why a maker is listed or is not, or what a transaction lacks as a bond, and what to do about it.', {
    settings: [...OWN_DATA, 'rpc', 'auth', 'cookie-file'],
    examples: {
      '<56 characters>.onion:6102': 'this port of the maker',
      '<56 characters>.onion': 'all its ports',
      '<txid>': 'what the transaction lacks as a bond',
    },
  })
    .argument(
      '<address or txid>',
      '<56 characters>.onion:<port> as the maker announces it, all its ports without one; or a transaction, as bitcoin-cli prints it',
    )
    .option('--json', 'print JSON')
    .action(async (asked: string, _options: unknown, command: Command) =>
      (await reading()).showWhy(asked, command, signal),
    )
  verb('trackers', 'List the other trackers that are known, and whether their lists are ours.', {
    settings: OWN_DATA,
    examples: {
      '': 'those of --trackers, and those that were learnt',
      '--forget <56 characters>.onion:8080': 'one that is gone for good',
    },
  })
    .option('--forget <host:port>', 'forget one that was learnt; it may be learnt again an hour later, when it pings')
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (options: { forget?: string }, command: Command) => (await reading()).showTrackers(options, command))
  verb('relays', 'List the watched relays: whom takers find there, who is missing, what is dead or not valid.', {
    settings: OWN_DATA,
    examples: { '': 'what each relay of --nostr-relays tells takers', '--json': 'for programs' },
  })
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => (await reading()).showRelays(command))
  verb('export', 'Write every row known here: bonds with their history, makers, other trackers, relays.', {
    settings: OWN_DATA,
    examples: {
      'makers --format csv -o makers.csv': 'for a spreadsheet',
      '-o everything.json': 'all rows in one file',
    },
  })
    .addArgument(new Argument('[what]', 'without it all in JSON, bonds in CSV').choices(EXPORT_NOUNS))
    .addOption(new Option('--format <format>', 'how it is written').choices(EXPORT_FORMATS).default('json'))
    .option('-o, --output <file>', 'write this file, replacing it when it is whole (default: standard output)')
    .option(
      '--shared',
      'instead: all of the shared store as the database of a tracker that goes on alone; --output names it, and is never overwritten',
    )
    .option('--json', 'with --shared: print JSON')
    .action(
      async (
        what: ExportNoun | undefined,
        options: { format: ExportFormat; output?: string; shared?: boolean },
        command: Command,
      ) => {
        if (options.shared) await (await care()).moveOut(what, options, command, signal)
        else (await reading()).writeExport(what, options, command)
      },
    )
  verb('watches', 'Show how many outpoints takers have registered, and when they end.', {
    settings: OWN_DATA,
    examples: {
      '': 'how many there are',
      '--drop-after 950000': 'end those that were asked for until after that block',
    },
  })
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option(
      '--drop <outpoint...>',
      'end these registrations, which their takers rely on. Without a shared store the daemon must not run',
    )
    .option('--drop-after <height>', 'end those that were asked for until after this block', wholeHeight)
    .option('--json', 'print JSON')
    .action(async (options: { drop?: string[]; dropAfter?: number }, command: Command) => {
      frame.exitCode = await (await reading()).watches(options, command, signal)
    })
}

/** Verbs that ask a tracker, this one or another, through Tor or on this machine. */
function addAskingVerbs(frame: VerbFrame): void {
  const { verb, signal } = frame
  verb('query', 'Ask any tracker, through Tor: get, status, ping, bonds, bond-proof, watch, why or trackers.', {
    settings: THROUGH_TOR,
    examples: {
      '<56 characters>.onion:8080 get': 'the makers that it lists',
      '<56 characters>.onion:8080 bonds --all': 'its bonds, with values and makers',
      '127.0.0.1:8080 watch <txid>:<vout>': 'who has spent an output, asked of the tracker of this machine',
    },
  })
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .addArgument(new Argument('<request>', 'what is asked').choices(REQUEST_WORDS))
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
        frame.exitCode = await (await asking()).queryTracker(target, word, about, options, command, signal)
      },
    )
  verb(
    'verify',
    "Re-check another tracker's list row by row against our own bitcoind: what it invents, what it omits.",
    {
      settings: ['network', 'datadir', 'rpc', 'auth', 'cookie-file', 'socks-port', 'tor'],
      examples: {
        '<56 characters>.onion:8080': 'every row of its list',
        '127.0.0.1:8080 --json': 'our own tracker, for programs',
      },
    },
  )
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .option('--json', 'print JSON')
    .action(async (target: string, _options: unknown, command: Command) => {
      frame.exitCode = await (await asking()).verifyList(target, command, signal)
    })
  verb('watch', 'Follow outpoints live: who spends them, in the mempool and in blocks. Ends with Ctrl-C.', {
    settings: ['address', ...THROUGH_TOR],
    examples: {
      '<txid>:<vout>': 'asked of the tracker of this machine',
      '<txid>:0 <txid>:1 --tracker <56 characters>.onion:8080': 'two, asked of another one',
    },
  })
    .argument('<outpoint...>', 'txid:vout, as bitcoin-cli prints it')
    .addOption(TRACKER)
    .option('--json', 'print a line of JSON for every change')
    .action(async (outpoints: string[], options: { tracker?: string }, command: Command) =>
      (await asking()).followOutpoints(outpoints, options, command, signal),
    )
  verb('register', 'Have outpoints watched until a height, whoever is connected, with the effort that is asked for.', {
    settings: ['address', ...THROUGH_TOR],
    examples: {
      '<txid>:<vout>': 'for two weeks, at the tracker of this machine',
      '<txid>:<vout> --blocks 1008 --tracker <56 characters>.onion:8080': 'for a week, at another one',
    },
  })
    .argument('<outpoint...>', 'txid:vout, as bitcoin-cli prints it')
    .option('--blocks <n>', 'for how many blocks from now on', wholeHeight, 2_016)
    .addOption(TRACKER)
    .option('--json', 'print JSON')
    .action(async (outpoints: string[], options: { blocks: number; tracker?: string }, command: Command) => {
      frame.exitCode = await (await asking()).register(outpoints, options, command, signal)
    })
}

/** Verbs of whoever looks after a tracker. */
function addCareVerbs(frame: VerbFrame): void {
  const { verb, signal } = frame
  verb(
    'health',
    'Exit with 0 when the daemon of this data directory answers takers, else with 1; for container checks.',
    {
      settings: OWN_DATA,
      examples: {
        '': 'for a container that is to be seen as unhealthy until takers are answered',
        '--live': 'for a platform that restarts what is unhealthy',
      },
    },
  )
    .option('--live', 'only whether it runs: for platforms that restart what is not healthy')
    .option('--json', 'print JSON')
    .action(async (options: { live?: boolean }, command: Command) => {
      frame.exitCode = (await reading()).showHealth(options, command)
    })
  verb('doctor', 'Look at everything the daemon needs, and say what to type where something is wrong.', {
    settings: 'all',
    examples: { '--config /etc/fidelity-tracker.toml': 'with the settings of the service', '--json': 'for programs' },
  })
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => {
      frame.exitCode = await (await care()).runDoctor(command)
    })
  verb('clients', 'List who is connected to the running daemon, and what each costs. Strangers have no names.', {
    settings: ['http'],
    examples: {
      '': 'those that have cost most come first',
      '--http 127.0.0.1:9081': 'of a daemon that has its HTTP door there',
    },
  })
    .addOption(WIDE)
    .addOption(COLUMNS)
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => (await care()).showClients(command, signal))
  verb('backup', 'Copy the database to <file>, also while the daemon runs. Never overwrites.', {
    settings: OWN_DATA,
    examples: {
      'tracker-$(date +%F).sqlite': 'a copy by date, in this folder',
      '/mnt/backup/tracker.sqlite --datadir /var/lib/fidelity-tracker': 'of the service, as its user',
    },
  })
    .argument('<file>', 'the copy; appears when it is whole')
    .action(async (file: string, _options: unknown, command: Command) => (await care()).backup(file, command, signal))
  verb(
    'check-db',
    'Read the whole database and check it, and whether the shared store has as many registrations; exits with 0 when it is sound, else with 74.',
    {
      settings: OWN_DATA,
      examples: { '': 'whether it is sound', '--salvage': 'save what can be saved, with the daemon stopped' },
    },
  )
    .option(
      '--salvage',
      'put a new database with what can be saved in the place of a damaged one, which is kept. The daemon must not run',
    )
    .option('--json', 'print JSON')
    .action(async (options: { salvage?: boolean }, command: Command) => {
      frame.exitCode = await (await care()).checkDb(options, command, signal)
    })
  verb(
    'rescan',
    'Forget the blocks from a height on, so that the next start scans them again. The daemon must not run.',
    {
      settings: OWN_DATA,
      examples: { '--from 900000': 'that block and those above it', '--from 0': 'everything' },
    },
  )
    .requiredOption('--from <height>', 'the lowest block to scan again', wholeHeight)
    .action(async (options: { from: number }, command: Command) => (await care()).rescan(options, command, signal))
}

function addPrintingVerbs({ verb }: VerbFrame): void {
  verb('print-config', 'Print every setting with its value and where it came from.', {
    settings: 'all',
    examples: {
      '--config /etc/fidelity-tracker.toml': 'what is in force with this file',
      '--example >fidelity-tracker.toml': 'a file to begin with, nothing in it set',
    },
  })
    .option('--example', 'instead: a file with every setting, what it means and its default, nothing in it set')
    .action(async (options: { example?: boolean }, command: Command) =>
      (await printing()).printConfig(options, command),
    )
  verb('print-torrc', 'Print the lines that Tor needs in its torrc for these settings.', {
    settings: [
      'address',
      'nostr',
      'control-port',
      'socks-port',
      'onion-hostname-file',
      'public-onion',
      'onion-target',
      'circuit-ids',
      'streams-per-circuit',
    ],
    examples: {
      '': 'for a Tor whose control port is used',
      '--onion-hostname-file /var/lib/tor/fidelity-tracker/hostname': 'for an onion service that torrc has',
    },
  })
    .option('--onionbalance', 'one address over several trackers instead: what the balancer and each of them needs')
    .action(async (options: { onionbalance?: boolean }, command: Command) =>
      (await printing()).printTorrc(command, options.onionbalance === true),
    )
}

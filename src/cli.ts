/** commander: each verb is parse → one call → print. Returns the exit code; failures are thrown by fate (errors.ts). */
import { existsSync } from 'node:fs'
import { Command, CommanderError, Option } from 'commander'
import { listMakers } from './bonds/list.ts'
import { blocksLeft, stateOf } from './bonds/verify.ts'
import { windowStart } from './chain/plan.ts'
import { formatOutpoint, parseOutpoint } from './chain/types.ts'
import {
  type Config,
  ENV_PREFIX,
  formatConfig,
  type RawValues,
  readConfig,
  SETTINGS,
  type SettingName,
  setting,
} from './config.ts'
import { runDaemon } from './daemon.ts'
import { ConfigError, isAbort, TransientError, UnreachableError } from './errors.ts'
import { openLog } from './log.ts'
import { type Report, unseenHeights } from './status.ts'
import { readBonds, readPendingBonds } from './store/bonds.ts'
import { readReport } from './store/daemon.ts'
import { isLocked } from './store/lock.ts'
import { type Db, databasePath, openStoreReadonly } from './store/open.ts'
import { readScannedFrom, readTip } from './store/tip.ts'
import { type HostPort, isOnionHost, parseHostPort } from './tor/address.ts'
import { dial } from './tor/socks.ts'
import { TORRC_DEFAULTS, torrcFor } from './tor/torrc.ts'
import { VERSION } from './version.ts'
import { ask } from './wire/client.ts'
import type { Reply, Request } from './wire/messages.ts'
import { systemClock } from './world.ts'

/** A fresh circuit to an onion service may take this long. */
const DIAL_MS = 90_000
const REPLY_MS = 60_000

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
  verb('query', 'Ask any tracker, through Tor: get, status, ping, or watch <txid:vout>.')
    .argument('<host:port>', 'the tracker: an onion address, or one of this machine')
    .argument('<request>', 'get | status | ping | watch')
    .argument('[outpoint]', 'txid:vout, for watch')
    .option('--json', 'print JSON')
    .action(async (target: string, word: string, outpoint: string | undefined, _options: unknown, command: Command) => {
      const reply = await query(configOf(command), target, requestOf(word, outpoint), signal)
      print(isJson(command) ? JSON.stringify(jsonOf(reply), null, 2) : describeReply(reply))
      exitCode = reply.type === 'Error' ? 1 : 0
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
  fidelity-tracker query <host>.onion:8080 get              ask another tracker for its makers
  fidelity-tracker print-torrc                              what torrc needs

Exit codes: 0 stopped cleanly, 1 internal failure, 2 usage or configuration,
69 bitcoind or Tor not reached within --start-timeout, 74 database unusable.`

// ---- settings --------------------------------------------------------------------------------------------------------

function addSettings(command: Command): void {
  command.option('--config <file>', 'read settings from this TOML file')
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { argument, short, about, defaultText, default: value } = setting(name)
    const long = name === 'tor' ? '--no-tor' : `--${name}`
    const flags = [short, long].filter(Boolean).join(', ') + (argument ? ` ${argument}` : '')
    const shown = defaultText ?? (typeof value === 'boolean' || value === undefined ? undefined : String(value))
    command.addOption(new Option(flags, about + (shown === undefined ? '' : ` (default: ${shown})`)))
  }
}

function configOf(command: Command): Config {
  const given: Record<string, unknown> = {}
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const attribute = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
    if (command.getOptionValueSource(attribute) === 'cli') given[name] = command.getOptionValue(attribute)
  }
  return readConfig({
    flags: given as RawValues,
    env: process.env,
    configFile: command.opts<{ config?: string }>().config,
  })
}

// ---- reading verbs ---------------------------------------------------------------------------------------------------

function openExisting(config: Config): Db {
  if (!existsSync(databasePath(config.dataDir))) {
    throw new ConfigError(`there is no database in --datadir ${config.dataDir}: has the daemon been started with it?`)
  }
  return openStoreReadonly(config.dataDir)
}

/** What the status verb prints: the store's own facts, and the daemon's last report. */
interface StatusView {
  running: boolean
  network: string
  version: string
  height: number | null
  block_hash: string | null
  block_time: number | null
  scanned_from: number | null
  unseen: { from: number; to: number } | null
  bonds: number
  digest: string | null
  daemon: Report | null
}

function readStatus(db: Db, config: Config): StatusView {
  const tip = readTip(db)
  const scannedFrom = readScannedFrom(db)
  const list = tip && listMakers(readBonds(db, windowStart(tip.height)), tip)
  return {
    running: isLocked(config.dataDir),
    network: config.network,
    version: VERSION,
    height: tip?.height ?? null,
    block_hash: tip?.hash ?? null,
    block_time: tip?.timeS ?? null,
    scanned_from: scannedFrom ?? null,
    unseen: unseenHeights(scannedFrom, tip) ?? null,
    bonds: list?.live.length ?? 0,
    digest: list?.digest.toString('hex') ?? null,
    daemon: (readReport(db) as Report | undefined) ?? null,
  }
}

function describeStatus(status: StatusView): string {
  const { daemon } = status
  const lines: [string, string][] = []
  if (!status.running)
    lines.push(['daemon', daemon ? `not running (last seen ${utc(daemon.writtenAtMs)})` : 'never ran here'])
  else if (!daemon) lines.push(['daemon', 'starting'])
  else {
    lines.push([
      'daemon',
      `${daemon.ready ? 'ready' : 'NOT READY'}, pid ${daemon.pid}, since ${utc(daemon.startedAtMs)}`,
    ])
    for (const reason of daemon.notReady) lines.push(['', `- ${reason}`])
    lines.push(['address', daemon.onion.address ?? daemon.address])
    lines.push(['onion', `${daemon.onion.state}: ${daemon.onion.detail}`])
    lines.push(['bitcoind', `${daemon.node.kind}${daemon.source ? `, blocks by ${daemon.source}` : ''}`])
    if (daemon.progress) lines.push(['catching up', describeProgress(daemon.progress)])
    lines.push(['mempool', `${daemon.mempool.size} transactions${daemon.mempool.isComplete ? '' : ' (still reading)'}`])
    lines.push(['reorgs', `${daemon.reorgs}${daemon.reorgs ? `, deepest ${daemon.reorgDepthMax}` : ''}`])
  }
  lines.push(['network', status.network])
  if (status.height === null) lines.push(['chain', 'nothing scanned yet'])
  else {
    lines.push(['chain', `block ${status.height} (${status.block_hash}), scanned from ${status.scanned_from}`])
    if (status.unseen) {
      const { from, to } = status.unseen
      lines.push(['NOT SEEN', `blocks ${from} to ${to} were pruned by bitcoind: bonds confirmed there are not known`])
    }
    lines.push(['live bonds', `${status.bonds}, digest ${status.digest}`])
  }
  return lines.map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n')
}

function describeProgress({ from, at, to, blocksPerS, mbPerS, etaS }: NonNullable<Report['progress']>): string {
  const percent = ((100 * (at - from + 1)) / Math.max(1, to - from + 1)).toFixed(1)
  const eta = etaS === undefined ? '' : `, ${etaS} s left`
  return `block ${at} of ${to} (${percent} %), ${blocksPerS} blocks/s, ${mbPerS} MB/s${eta}`
}

interface BondRow {
  outpoint: string
  address: string
  format: string
  state: string
  refusal: string | null
  amount: number
  value: number
  conf_height: number | null
  lock_height: number | null
  blocks_left: number | null
  spent_by: { txid: string; vin: number; height: number } | null
}

/** Live ones first by value, then the others by height. */
function readBondRows(db: Db): BondRow[] {
  const tip = readTip(db)
  const pending = readPendingBonds(db).map(
    (bond): BondRow => ({
      ...rowOf(bond),
      state: 'pending',
      refusal: null,
      value: 0,
      conf_height: null,
      blocks_left: null,
      spent_by: null,
    }),
  )
  if (!tip) return pending
  const bonds = readBonds(db)
  const values = new Map(listMakers(bonds, tip).live.map(({ bond, value }) => [bond, value]))
  const rows = bonds.map((bond): BondRow => {
    const state = stateOf(bond, tip)
    return {
      ...rowOf(bond),
      state,
      refusal: bond.refusal ?? null,
      value: values.get(bond) ?? 0,
      conf_height: bond.conf.height,
      blocks_left: state === 'live' ? blocksLeft(bond, tip) : null,
      spent_by: bond.spentBy ? { txid: bond.spentBy.txid, vin: bond.spentBy.vin, height: bond.spentBy.height } : null,
    }
  })
  const order = (row: BondRow) => ['live', 'pending', 'expired', 'spent', 'refused'].indexOf(row.state)
  return [...rows, ...pending].sort(
    (a, b) => order(a) - order(b) || b.value - a.value || (b.conf_height ?? 0) - (a.conf_height ?? 0),
  )
}

function rowOf(bond: ReturnType<typeof readPendingBonds>[number]) {
  return {
    outpoint: formatOutpoint(bond.outpoint),
    address: bond.address,
    format: bond.format,
    amount: bond.amountSats,
    lock_height: bond.lockHeight ?? null,
  }
}

function describeBonds(rows: readonly BondRow[], height: number | undefined): string {
  if (height === undefined) return 'nothing scanned yet'
  if (rows.length === 0) return `no bonds at block ${height}`
  const head = ['STATE', 'ADDRESS', 'FMT', 'SATS', 'VALUE', 'CONFIRMED', 'LOCK', 'LEFT', 'OUTPOINT']
  const body = rows.map((row) => [
    row.refusal ? `${row.state} (${row.refusal})` : row.state,
    row.address,
    row.format,
    String(row.amount),
    String(row.value),
    String(row.conf_height ?? '-'),
    String(row.lock_height ?? '-'),
    String(row.blocks_left ?? '-'),
    row.outpoint,
  ])
  return `${table([head, ...body])}\n${rows.length} bonds at block ${height}`
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

// ---- query -----------------------------------------------------------------------------------------------------------

function requestOf(word: string, outpoint: string | undefined): Request {
  if (outpoint !== undefined && word !== 'watch') throw new ConfigError(`${word} takes no outpoint`)
  switch (word) {
    case 'get':
      return { type: 'Get' }
    case 'status':
      return { type: 'Status' }
    case 'ping':
      return { type: 'Ping', address: '', port: 0 }
    case 'watch': {
      const parsed = parseOutpoint(outpoint ?? '')
      if (!parsed) throw new ConfigError('watch wants an outpoint: <txid as bitcoin-cli prints it>:<vout>')
      return { type: 'Watch', outpoint: parsed }
    }
    default:
      throw new ConfigError(`${word} is no request: use get, status, ping, or watch <txid:vout>`)
  }
}

async function query(config: Config, target: string, request: Request, signal: AbortSignal): Promise<Reply> {
  const address = parseHostPort(target)
  if (!address)
    throw new ConfigError(`${target} is no address: expected host:port, for example <56 characters>.onion:8080`)
  if (address.host.endsWith('.onion') && !isOnionHost(address.host)) {
    throw new ConfigError(`${address.host} is no v3 onion address: a character is wrong or missing`)
  }
  try {
    const isolation = `query-${process.pid}-${process.hrtime.bigint()}`
    const socket = await dial(address, { proxy: proxyFor(config, address), isolation, timeoutMs: DIAL_MS, signal })
    try {
      return await ask(socket, request, { timeoutMs: REPLY_MS })
    } finally {
      socket.destroy()
    }
  } catch (error) {
    if (error instanceof TransientError) throw new UnreachableError(error.message, { cause: error })
    throw error
  }
}

/** This machine is reached directly, everything else through Tor. */
function proxyFor({ tor }: Config, { host }: HostPort): HostPort | 'direct' {
  const isLocal = host === 'localhost' || host === '::1' || host.startsWith('127.')
  return isLocal || tor.kind === 'none' ? 'direct' : tor.socks
}

function describeReply(reply: Reply): string {
  switch (reply.type) {
    case 'Address':
      return reply.addresses.length > 0 ? reply.addresses.join('\n') : 'no makers'
    case 'WatchResponse':
      if (reply.transactions.length === 0) return 'no spend known'
      return reply.transactions.map(({ txid, seenAtMs }) => `${txid}  first seen ${utc(seenAtMs)}`).join('\n')
    case 'Error':
      return `the tracker answered ${reply.code}: ${reply.message}`
    case 'Pong':
    case 'Status': {
      const fields = Object.entries(jsonOf(reply)).filter(([name]) => name !== 'type')
      return fields
        .map(([name, value]) => `${name.padEnd(14)}${typeof value === 'object' ? JSON.stringify(value) : value}`)
        .join('\n')
    }
  }
}

/** The reply as JSON: snake_case as on the wire, bytes as hex, hashes in display order. */
function jsonOf(reply: Reply): Record<string, unknown> {
  const snake = (name: string) =>
    name
      .replace(/(TimeS)$/, 'Time')
      .replace(/Ms$/, '')
      .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  const plain = (value: unknown): unknown => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    if (Array.isArray(value)) return value.map(plain)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, inner]) => inner !== undefined)
        .map(([name, inner]) => [snake(name), plain(inner)]),
    )
  }
  return plain(reply) as Record<string, unknown>
}

function utc(unixMs: number): string {
  return Number.isNaN(unixMs)
    ? 'at an unknown time'
    : `${new Date(unixMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

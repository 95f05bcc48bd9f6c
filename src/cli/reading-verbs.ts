/**
 * What the verbs do that read this data directory, whether its daemon runs or not: its rows, with --json as HTTP sends
 * them, else as text. They take no part of the daemon with them: a health check asks often.
 */
import type { Command } from 'commander'
import type { HeightRange, Txid } from '../chain/types.ts'
import { writeWhole } from '../files.ts'
import { readPublicHost } from '../tor/own-host.ts'
import { tidyAddress } from '../tor/pasted-address.ts'
import { bondRows } from '../views/bonds.ts'
import { readFacts, readHealth, readStatus } from '../views/closed.ts'
import type { Facts } from '../views/facts.ts'
import { makerRows } from '../views/makers.ts'
import { bondSchema } from '../views/schemas/bonds.ts'
import { makerSchema } from '../views/schemas/makers.ts'
import { relaySchema } from '../views/schemas/relays.ts'
import { trackerSchema } from '../views/schemas/trackers.ts'
import { trackerRows } from '../views/trackers.ts'
import { why } from '../views/why.ts'
import { systemClock } from '../world.ts'
import { describeWhy, describeWhyTransaction } from './answer-text.ts'
import { describeBonds, sortBonds } from './bond-text.ts'
import { describeWatches } from './client-text.ts'
import { configOf, isJson, outpointsOf, print, printJson, txidIn } from './command.ts'
import { exportRows } from './export.ts'
import type { ExportFormat, ExportNoun } from './export-words.ts'
import { forgetTracker } from './forget.ts'
import type { MakerSort } from './maker-sorts.ts'
import { describeMakers, sortMakers } from './maker-text.ts'
import { describeRelays, describeTrackers } from './peer-text.ts'
import { shownRows } from './shown-rows.ts'
import { describeStatus } from './status-text.ts'
import type { TableLook } from './table.ts'
import { lookOf } from './table-options.ts'
import { readWatches } from './watches.ts'

function show<T>(
  command: Command,
  rowsOf: (facts: Facts) => T,
  describe: (rows: T, look: TableLook, height: number | null, unseen: HeightRange | undefined) => string,
): void {
  readFacts(configOf(command), systemClock, (facts) => {
    const rows = rowsOf(facts)
    if (isJson(command)) printJson(rows)
    else print(describe(rows, lookOf(command, systemClock), facts.chain.tip()?.height ?? null, facts.unseen()))
  })
}

export async function showStatus(command: Command): Promise<void> {
  const ownHost = await readPublicHost(configOf(command))
  show(
    command,
    (facts) => readStatus(facts, ownHost),
    (row, { nowMs }) => describeStatus(row, nowMs),
  )
}

export function showBonds({ all }: { all?: boolean }, command: Command): void {
  const wanted = (facts: Facts) => bondRows(facts).filter(({ state }) => all === true || state === 'live')
  show(command, (facts) => sortBonds(shownRows('bonds', bondSchema, wanted(facts))), describeBonds)
}

export function showMakers({ sort }: { sort: MakerSort }, command: Command): void {
  const rowsOf = (facts: Facts) => sortMakers(shownRows('makers', makerSchema, makerRows(facts)), sort)
  show(command, rowsOf, describeMakers)
}

export async function showWhy(asked: string, command: Command, signal: AbortSignal): Promise<void> {
  const txid = txidIn(asked)
  if (txid) return await showWhyTransaction(txid, command, signal)
  show(command, (facts) => why(facts, tidyAddress(asked)), describeWhy)
}

/** Loads the node thread's side, for bitcoind may have to be asked. */
async function showWhyTransaction(txid: Txid, command: Command, signal: AbortSignal): Promise<void> {
  const { whyTransaction } = await import('./why-transaction.ts')
  const row = await whyTransaction(configOf(command), txid, signal)
  if (isJson(command)) printJson(row)
  else print(describeWhyTransaction(row))
}

export function showTrackers({ forget }: { forget?: string }, command: Command): void {
  if (forget !== undefined) {
    forgetTracker(configOf(command), forget)
    if (isJson(command)) printJson({ forgotten: forget })
    else print(`${forget} is forgotten`)
  } else show(command, (facts) => shownRows('trackers', trackerSchema, trackerRows(facts)), describeTrackers)
}

export function showRelays(command: Command): void {
  show(command, ({ relays }) => shownRows('relays', relaySchema, [...relays.rows()]), describeRelays)
}

/** Writes standard output, or a file whole. */
export function writeExport(
  noun: ExportNoun | undefined,
  { format, output }: { format: ExportFormat; output?: string },
  command: Command,
): void {
  const whole = readFacts(configOf(command), systemClock, (facts) => exportRows(facts, format, noun))
  if (output === undefined) process.stdout.write(whole)
  else writeWhole(output, whole)
}

/** Returns the exit code. */
export function showHealth({ live }: { live?: boolean }, command: Command): number {
  const health = readHealth(configOf(command).dataDir, systemClock.nowMs())
  if (isJson(command)) printJson(health)
  else print(health.detail)
  return (live ? health.alive : health.ready) ? 0 : 1
}

/** Shows the registrations, or ends some. Returns the exit code. */
export async function watches(
  { drop, dropAfter }: { drop?: string[]; dropAfter?: number },
  command: Command,
  signal: AbortSignal,
): Promise<number> {
  const config = configOf(command)
  if (drop === undefined && dropAfter === undefined) {
    const watches = readWatches(config)
    if (isJson(command)) printJson(watches)
    else print(describeWatches(watches, lookOf(command, systemClock)))
    return 0
  }
  const { dropWatches } = await import('./drop-watches.ts')
  const which = { outpoints: outpointsOf(drop ?? []), after: dropAfter }
  const { isShared, ...result } = await dropWatches(config, which, systemClock, signal)
  if (isJson(command)) printJson(result)
  else {
    for (const outpoint of result.missing) print(`${outpoint} was not registered`)
    const rest = isShared ? 'In the shared store as well: running trackers learn it within seconds' : 'Start the daemon'
    print(`${result.dropped} registrations ended. ${rest}`)
  }
  return result.missing.length > 0 ? 1 : 0
}

/** What the verbs of whoever looks after a tracker do. Exit codes are returned. */
import type { Command } from 'commander'
import { databasePath } from '../data-places.ts'
import { examine } from '../doctor/doctor.ts'
import { broken, doctorExitCode, type Finding } from '../doctor/finding.ts'
import { ConfigError } from '../errors.ts'
import { backupDatabase } from '../store/backup.ts'
import { openExisting } from '../store/open.ts'
import { parsePostgresAddress } from '../store/shared/postgres/address.ts'
import { systemClock } from '../world.ts'
import { checkDataDir, describeCheck, describeSalvage, salvageDataDir } from './check-db.ts'
import { describeClients } from './client-text.ts'
import { readClients } from './clients.ts'
import { configFileOf, configOf, isJson, print, printJson } from './command.ts'
import { compareShared, describeComparison } from './compare-shared.ts'
import { describeSharedExport, exportShared } from './export-shared.ts'
import { rescanFrom } from './rescan.ts'
import { describeDoctor } from './status-text.ts'
import { lookOf } from './table-options.ts'

/** Exit code of a database that can't be relied on, as when it can't be read. */
const DAMAGED = 74

export async function runDoctor(command: Command): Promise<number> {
  const findings = await examineWith(command)
  if (isJson(command)) printJson(findings)
  else print(describeDoctor(findings))
  return doctorExitCode(findings)
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

export async function showClients(command: Command, signal: AbortSignal): Promise<void> {
  const rows = await readClients(configOf(command), signal)
  if (isJson(command)) printJson(rows)
  else print(describeClients(rows, lookOf(command, systemClock)))
}

export async function backup(file: string, command: Command, signal: AbortSignal): Promise<void> {
  const { dataDir, network, sharedStore } = configOf(command)
  openExisting(dataDir, network)[Symbol.dispose]()
  const bytes = await backupDatabase(databasePath(dataDir), file, signal)
  print(`${file}: ${(bytes / 1e6).toFixed(1)} MB, checked`)
  print(`The onion key is not in it. Who has it has the address; keep a copy: ${dataDir}/onion.key`)
  if (!sharedStore) return
  const { database, hosts } = parsePostgresAddress(sharedStore.reveal())
  print(`Of the shared store it has what this tracker knew. The shared store itself is backed up at ${hosts[0]!.host}:`)
  print(`  sudo -u postgres pg_dump -Fc -f /var/lib/postgresql/${database}.dump ${database}`)
}

/** `export --shared`. */
export async function moveOut(
  what: string | undefined,
  { output }: { output?: string },
  command: Command,
  signal: AbortSignal,
): Promise<void> {
  if (what !== undefined) throw new ConfigError(`export --shared writes everything: leave out ${what}`)
  const config = configOf(command)
  const made = await exportShared(config, output, signal)
  if (isJson(command)) printJson(made)
  else print(describeSharedExport(made, config))
}

export async function checkDb(options: { salvage?: boolean }, command: Command, signal: AbortSignal): Promise<number> {
  const config = configOf(command)
  const database = databasePath(config.dataDir)
  const salvage = options.salvage ? salvageDataDir(config) : undefined
  if (salvage) {
    if (isJson(command)) printJson({ database, ok: true, salvaged: salvage })
    else print(describeSalvage(database, salvage))
    return 0
  }
  const check = checkDataDir(config)
  const ok = check.complaints.length === 0
  const shared = ok ? await compareShared(config, signal) : undefined
  if (isJson(command)) printJson({ database, ok, complaints: check.complaints, ...(shared && { shared }) })
  else print([describeCheck(check), ...(shared ? [describeComparison(shared)] : [])].join('\n'))
  return ok ? 0 : DAMAGED
}

export async function rescan({ from }: { from: number }, command: Command, signal: AbortSignal): Promise<void> {
  const result = await rescanFrom(configOf(command), from, systemClock, signal, print)
  const rest =
    result.tipHeight === undefined
      ? 'Nothing is left: the next start scans the whole window, or what bitcoind has of it.'
      : `The tip is now block ${result.tipHeight}.`
  print(`${result.blocksTakenBack} blocks taken back, down to ${result.from}. ${rest}`)
  print(
    'Start the daemon. Onion key, registrations and history are kept; what bitcoind has pruned is not read again: without it no list is given, unless --serve-partial is set.',
  )
}

/** The verbs of whoever looks after a tracker: health, doctor, backup, check-db, rescan, export. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { examine } from '../doctor/doctor.ts'
import { broken, doctorExitCode, type Finding } from '../doctor/finding.ts'
import { ConfigError } from '../errors.ts'
import { backupDatabase } from '../store/backup.ts'
import { checkDatabase } from '../store/check.ts'
import { databasePath } from '../store/open.ts'
import { systemClock } from '../world.ts'
import { type AddVerb, configFileOf, configOf, isJson, print } from './command.ts'
import { describeFindings } from './doctor.ts'
import { EXPORT_FORMATS, type ExportFormat, exportBonds, writeWhole } from './export.ts'
import { readHealth } from './health.ts'
import { rescanFrom } from './rescan.ts'
import { openExisting } from './views.ts'

/** Exit code of a database that can't be relied on, as when it can't be read. */
const DAMAGED = 74

export function addCareVerbs(verb: AddVerb, signal: AbortSignal, leaveWith: (exitCode: number) => void): void {
  verb(
    'health',
    'Exit with 0 when the daemon of this data directory answers takers, else with 1; for container checks.',
  )
    .option('--live', 'only whether it runs: for platforms that restart what is not healthy')
    .option('--json', 'print JSON')
    .action((options: { live?: boolean }, command) => {
      const health = readHealth(configOf(command).dataDir, systemClock.nowMs())
      print(isJson(command) ? JSON.stringify(health, null, 2) : health.detail)
      leaveWith((options.live ? health.alive : health.ready) ? 0 : 1)
    })
  verb('doctor', 'Look at everything the daemon needs, and say what to type where something is wrong.')
    .option('--json', 'print JSON')
    .action(async (_options, command) => {
      const findings = await examineWith(command)
      print(isJson(command) ? JSON.stringify(findings, null, 2) : describeFindings(findings))
      leaveWith(doctorExitCode(findings))
    })
  verb('backup', 'Copy the database to <file>, also while the daemon runs. Never overwrites.')
    .argument('<file>', 'the copy; appears when it is whole')
    .action(async (file: string, _options, command) => {
      const config = configOf(command)
      openExisting(config)[Symbol.dispose]()
      const bytes = await backupDatabase(databasePath(config.dataDir), file, signal)
      print(`${file}: ${(bytes / 1e6).toFixed(1)} MB, checked`)
      print(`The onion key is not in it. Who has it has the address; keep a copy: ${config.dataDir}/onion.key`)
    })
  verb('check-db', 'Read the whole database and check it; exits with 0 when it is sound, else with 74.')
    .option('--json', 'print JSON')
    .action((_options, command) => {
      const config = configOf(command)
      openExisting(config)[Symbol.dispose]()
      const path = databasePath(config.dataDir)
      const complaints = checkDatabase(path)
      if (isJson(command)) print(JSON.stringify({ database: path, ok: complaints.length === 0, complaints }, null, 2))
      else if (complaints.length === 0) print(`${path} is sound`)
      else {
        print(
          [...complaints, '', `${path} is damaged. Stop the daemon, then:`, `  mv ${path} ${path}.damaged`].join('\n'),
        )
        print(`  rm -f ${path}-wal ${path}-shm\nand start it again: everything is read from the chain anew.`)
      }
      leaveWith(complaints.length === 0 ? 0 : DAMAGED)
    })
  verb(
    'rescan',
    'Forget the blocks from a height on, so that the next start scans them again. The daemon must not run.',
  )
    .requiredOption('--from <height>', 'the lowest block to scan again', wholeHeight)
    .action(async (options: { from: number }, command) => {
      const result = await rescanFrom(configOf(command), options.from, systemClock, signal, print)
      const rest =
        result.tipHeight === undefined
          ? 'Nothing is left: the next start scans the whole window.'
          : `The tip is now block ${result.tipHeight}.`
      print(`${result.blocksTakenBack} blocks taken back, down to ${result.from}. ${rest}`)
      print('Start the daemon; bitcoind must still have these blocks (not pruned).')
    })
  verb('export', 'Write every bond known here, with its history: live, pending, expired, spent and refused.')
    .addOption(new Option('--format <format>', 'json or csv').choices([...EXPORT_FORMATS]).default('json'))
    .option('-o, --output <file>', 'write this file, replacing it when it is whole (default: standard output)')
    .action((options: { format: ExportFormat; output?: string }, command) => {
      const config = configOf(command)
      using db = openExisting(config)
      const text = exportBonds(db, config.network, options.format)
      if (options.output === undefined) process.stdout.write(text)
      else writeWhole(options.output, text)
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

function wholeHeight(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('expected a block height')
  return Number(value)
}

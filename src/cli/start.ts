/** What `start` does: finds the log and the supervisor, and runs the daemon until the signal. */
import type { Command } from 'commander'
import type { SignalHandlers } from '../daemon.ts'
import { ConfigError, isAbort } from '../errors.ts'
import { keepHeapsSmallAtStart } from '../heap.ts'
import { systemClock } from '../world.ts'
import { configOf } from './command.ts'

/** Settings are judged before anything of the daemon is loaded, and the heaps are told before its modules fill them. */
export async function runStart(command: Command, signal: AbortSignal, signals: SignalHandlers): Promise<void> {
  const config = configOf(command)
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
}

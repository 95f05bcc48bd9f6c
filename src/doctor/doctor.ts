/** All of doctor's checks, in the order in which an operator would look; each says what it found and nothing is changed. */
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type Config, revealAuth } from '../config.ts'
import { isSecret } from '../settings.ts'
import type { Report } from '../status.ts'
import { isLocked } from '../store/lock.ts'
import { openStoreReadonly } from '../store/open.ts'
import { readReport } from '../store/tip.ts'
import type { Clock } from '../world.ts'
import type { BitcoindQuestion } from './bitcoind-thread.ts'
import { dataDirFindings } from './data-dir.ts'
import { type Finding, well, worth } from './finding.ts'
import { fileLimitFinding, nodeFinding, portFinding, takenPortFinding } from './host.ts'
import { onionFinding, torFindings } from './tor.ts'

export async function examine(config: Config, configFile: string | undefined, clock: Clock): Promise<Finding[]> {
  const { tor, dataDir } = config
  const isRunning = isLocked(dataDir)
  const report = isRunning ? lastReport(dataDir) : undefined
  const [bitcoind, throughTor] = await Promise.all([
    askBitcoind({
      rpc: { host: config.rpc.host, port: config.rpc.port, auth: revealAuth(config.rpc.auth) },
      network: config.network,
      nowS: Math.floor(clock.nowMs() / 1000),
    }),
    tor.kind === 'none' ? [well('tor', 'not used (--no-tor)')] : torFindings(tor),
  ])
  return [
    nodeFinding(process.versions.node),
    configFinding(config, configFile),
    ...dataDirFindings(dataDir, config.network, config.retentionBlocks),
    fileLimitFinding(report?.pid ?? 'self', config.wire.connectionsMax),
    ...(await portFindings(config, isRunning)),
    ...bitcoind,
    ...throughTor,
    ...(tor.kind === 'none' ? [] : [onionFinding(report)]),
  ]
}

async function portFindings({ listen, http }: Config, isRunning: boolean): Promise<Finding[]> {
  const ports = [
    { check: 'port', flag: '--address', at: listen },
    ...(http ? [{ check: 'http-port', flag: '--http', at: http.listen }] : []),
  ]
  return Promise.all(
    ports.map(({ check, flag, at }) => (isRunning ? takenPortFinding(check, flag, at) : portFinding(check, flag, at))),
  )
}

/** Settings that could not be read end earlier, with the setting's name. */
function configFinding({ origins }: Config, configFile: string | undefined): Finding {
  const given = origins.filter(({ source }) => source !== 'default')
  const hasSecret = given.some(({ name, source }) => source === 'file' && isSecret(name))
  if (configFile !== undefined && hasSecret && (statSync(configFile).mode & 0o007) !== 0) {
    return worth('config', `${configFile} holds a password and can be read by everybody`, `chmod o= ${configFile}`)
  }
  return well(
    'config',
    given.length === 0 ? 'all settings are the defaults' : `${given.length} settings given (print-config)`,
  )
}

function lastReport(dataDir: string): Report | undefined {
  try {
    using db = openStoreReadonly(dataDir)
    return readReport(db) as Report | undefined
  } catch {
    return undefined // what is wrong with the database is a finding of its own
  }
}

async function askBitcoind(question: BitcoindQuestion): Promise<Finding[]> {
  const script = new URL(`./bitcoind-thread${extname(import.meta.url)}`, import.meta.url)
  const worker = new Worker(script, { workerData: question, env: {}, name: 'bitcoind' })
  try {
    const [findings] = (await once(worker, 'message')) as [Finding[]]
    return findings
  } finally {
    await worker.terminate()
  }
}

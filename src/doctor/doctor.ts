/** All of doctor's checks, in the order in which an operator would look; each says what it found and nothing is changed. */
import { statSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { openNode } from '../chain/node.ts'
import { type Config, exposedDoors, nodeOptions, socksOf } from '../config.ts'
import { webhookRoute } from '../events/webhook.ts'
import { isSecret } from '../settings.ts'
import { isLocked } from '../store/lock.ts'
import { openStoreReadonly } from '../store/open.ts'
import { parsePostgresAddress } from '../store/shared/postgres/address.ts'
import { formatHostPort, isLoopback, type TorPort, urlHost } from '../tor/address.ts'
import { ONION_KEY_FILE } from '../tor/key.ts'
import { readPublicHost } from '../tor/own-host.ts'
import { lastStatus, readRelayRows } from '../views/closed.ts'
import type { RelayRow } from '../views/schemas/relays.ts'
import type { StatusRow } from '../views/schemas/status.ts'
import type { Clock } from '../world.ts'
import { onionFinding } from './advice.ts'
import { bitcoindFindings } from './bitcoind.ts'
import { dataDirFindings } from './data-dir.ts'
import { broken, type Finding, well, worth } from './finding.ts'
import { fileLimitFinding, nodeFinding, portFinding, takenPortFinding } from './host.ts'
import { postgresFindings } from './postgres.ts'
import { relayFindings } from './relays.ts'
import { sharedAddressFinding } from './shared-address.ts'
import { torFindings } from './tor.ts'

export async function examine(config: Config, configFile: string | undefined, clock: Clock): Promise<Finding[]> {
  const { tor, dataDir } = config
  const isRunning = isLocked(dataDir)
  const status = isRunning ? storedStatus(dataDir) : undefined
  const { relays: urls, publish } = config.nostr
  const rows = isRunning ? storedRelays(dataDir) : undefined
  const [bitcoind, throughTor, relays, shared] = await Promise.all([
    askBitcoind(config, Math.floor(clock.nowMs() / 1000)),
    tor.kind === 'none'
      ? [well('tor', 'not used (--no-tor)')]
      : torFindings(
          { tor, circuitIds: config.wire.circuitIds, listen: config.listen, nostr: config.nostr.listen },
          clock.nowMs(),
        ),
    relayFindings({ urls, socks: socksOf(config), publish, rows }, clock),
    config.sharedStore
      ? postgresFindings(parsePostgresAddress(config.sharedStore.reveal()), config.network, clock)
      : [],
  ])
  return [
    nodeFinding(process.versions.node),
    configFinding(config, configFile),
    ...dataDirFindings(dataDir, config.network, config.retentionBlocks),
    fileLimitFinding(status?.pid ?? 'self', config.wire.connectionsMax, config.nostr.listen ? 2 : 1),
    ...(await portFindings(config, isRunning)),
    ...exposedDoors(config).map(({ flag, at }) =>
      worth(
        EXPOSED[flag],
        `${formatHostPort(at)} (${flag}) is open to other machines: whoever reaches it ties the onion service to this IP address`,
        `${flag} 127.0.0.1:${at.port}, if Tor${flag === '--http' ? ' or your browser' : ''} runs on this machine; else let nobody but ${flag === '--http' ? 'you' : 'Tor'} reach that port (a firewall, a container's own network)`,
      ),
    ),
    ...bitcoind,
    ...shared,
    ...throughTor,
    ...(tor.kind === 'control' && tor.lease
      ? [sharedAddressFinding(await ownAddress(config), join(dataDir, ONION_KEY_FILE))]
      : []),
    ...(tor.kind === 'none' ? [] : [onionFinding(status, await ownAddress(config))]),
    ...(config.webhook ? [webhookFinding(config.webhook, socksOf(config))] : []),
    ...relays,
  ]
}

async function ownAddress(config: Config): Promise<string | undefined> {
  const host = await readPublicHost(config)
  return host && formatHostPort({ host, port: config.listen.port })
}

const EXPOSED = { '--address': 'exposed', '--http': 'http-exposed', '--nostr': 'nostr-exposed' } as const

async function portFindings({ listen, http, nostr }: Config, isRunning: boolean): Promise<Finding[]> {
  const ports = [
    { check: 'port', flag: '--address', at: listen },
    ...(http ? [{ check: 'http-port', flag: '--http', at: http.listen }] : []),
    ...(nostr.listen ? [{ check: 'nostr-port', flag: '--nostr', at: nostr.listen }] : []),
  ]
  const findings = await Promise.all(
    ports.map(({ check, flag, at }) => (isRunning ? takenPortFinding(check, flag, at) : portFinding(check, flag, at))),
  )
  // Where nobody has chosen a port for it, the daemon runs without that door.
  const isSpare = ({ check, level }: Finding) => check === 'nostr-port' && level === 'failure' && !nostr.isAskedFor
  return findings.map((finding) => (isSpare(finding) ? { ...finding, level: 'warning' } : finding))
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

/** Who sees what of us when it is told. */
function webhookFinding({ url, direct }: NonNullable<Config['webhook']>, socks: TorPort | undefined): Finding {
  if (webhookRoute({ url, direct, socks }) === 'direct') {
    if (isLoopback(urlHost(url))) return well('webhook', `${url.host} is on this machine`)
    const why = direct ? '--webhook-direct' : '--no-tor'
    return well('webhook', `${url.host} is told without Tor (${why}) and sees the address of this machine`)
  }
  if (url.hostname.endsWith('.onion')) return well('webhook', `${url.host} is told through Tor`)
  if (!urlHost(url).includes('.') && isIP(urlHost(url)) === 0) {
    return broken(
      'webhook',
      `${url.host} is a name of your own network, and Tor reaches nothing there`,
      'set --webhook-direct',
    )
  }
  if (url.protocol === 'https:') return well('webhook', `${url.host} is told through Tor, and by TLS`)
  return worth(
    'webhook',
    `${url.host} is told through Tor, but in the clear: an exit can read and drop it`,
    'https:// or an onion address in --webhook-url',
  )
}

function storedStatus(dataDir: string): StatusRow | undefined {
  try {
    using db = openStoreReadonly(dataDir)
    return lastStatus(db)
  } catch {
    return undefined // what is wrong with the database is a finding of its own
  }
}

function storedRelays(dataDir: string): RelayRow[] | undefined {
  try {
    using db = openStoreReadonly(dataDir)
    return readRelayRows(db, true)
  } catch {
    return undefined // as above
  }
}

async function askBitcoind(config: Config, nowS: number): Promise<Finding[]> {
  const options = nodeOptions(config)
  await using node = await openNode(options)
  return await bitcoindFindings(node.with(new AbortController().signal), options.rpc, config.network, nowS)
}

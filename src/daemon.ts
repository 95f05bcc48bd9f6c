/**
 * The daemon: opens what it consists of (core.ts) and its doors, then runs its loops side by side until the signal. When
 * one loop fails the others stop; then the doors close, and the core.
 */
import { runMempool } from './chain/mempool-sync.ts'
import { runSync } from './chain/sync.ts'
import type { Outpoint } from './chain/types.ts'
import { raceAbort, runAll } from './concurrency.ts'
import { type Config, exposedDoors, socksOf } from './config.ts'
import { type Core, openCore } from './core.ts'
import { ConfigError, UnreachableError } from './errors.ts'
import { runMarketLog } from './events/market-log.ts'
import { runForgetting } from './forgetting.ts'
import { serveHttp } from './http/server.ts'
import { nextLogLevel, setLogLevel, writeAnyway } from './log.ts'
import { type NostrDoor, openDoor } from './nostr/door.ts'
import { runNotify, type Supervisor } from './notify.ts'
import { runOnion } from './onion.ts'
import { DIRECT_NETWORK } from './peers/canary.ts'
import { judgeProof } from './peers/judge.ts'
import { Monitor } from './peers/monitor.ts'
import { runRereading } from './rereading.ts'
import { storeStatus } from './store/local/tip.ts'
import { STORE_LIMITS } from './store/open.ts'
import { formatHostPort } from './tor/address.ts'
import { targetWarning } from './tor/targets.ts'
import { VERSION } from './version.ts'
import { statusRow, summaryOf } from './views/status.ts'
import { newHandle } from './wire/handlers.ts'
import { serveWire } from './wire/server.ts'
import { sleep, type World } from './world.ts'

const LIMITS = {
  /** How often the status is stored for the verbs of other processes, when it has changed. */
  statusMs: 1_000,
  /** How often it is stored at the least, so that its age tells a daemon that hangs. */
  heartbeatMs: 10_000,
  /** How often is looked whether the files that are open are still in place. */
  filesMs: 1_000,
}

/** What the operator asks of the running daemon by SIGUSR1 and SIGUSR2: main.ts calls what the daemon puts in here. */
export interface SignalHandlers {
  dumpState(): void
  changeLogLevel(): void
}

interface Outside {
  signals: SignalHandlers
  /** The service manager that started us, if one did. */
  supervisor: Supervisor | undefined
}

/** Returns when `signal` has stopped every loop; rejects on the first fatal. */
export async function runDaemon(
  config: Config,
  world: World,
  signal: AbortSignal,
  { signals, supervisor }: Outside,
): Promise<void> {
  const { log } = world
  await using core = await openCore(config, world, signal)
  handleSignals(signals, core)
  const { meters, cells, canary } = core
  await using wire = await serveWire({ listen: config.listen, limits: config.wire }, newHandle(core), {
    ...world,
    log: log.child({ room: 'wire' }),
    signal,
    work: core.work,
    circuitIds: config.wire.circuitIds,
    onHandled: (kind, tookMs) => meters.noteRequest(kind, tookMs),
  })
  core.wire = wire
  const monitor = newMonitor(core, signal)
  await using door = await openNostrDoor(core, monitor)
  core.door = door
  await using http = config.http && (await serveHttp(config.http, core, signal))
  log.info(
    {
      version: VERSION,
      network: config.network,
      address: formatHostPort(wire),
      dataDir: config.dataDir,
      pid: process.pid,
      ...(http && { http: formatHostPort(http) }),
      ...(door && { nostr: formatHostPort(door), pubkey: door.pubkey }),
    },
    'listening',
  )

  for (const { flag, at } of exposedDoors(config)) {
    const text = `${flag} listens for other machines, not for Tor alone: whoever reaches that port learns that the onion service runs at this IP address. Listen on 127.0.0.1, or see that only Tor reaches it (a firewall, a container's own network)`
    log.warn({ listen: formatHostPort(at) }, text)
  }

  const astray = config.tor.kind === 'control' ? targetWarning(wire, config.tor) : undefined
  if (astray) log.warn({ detail: `${astray.text}: ${astray.fix}` }, 'Tor may not find us where the onion service leads')

  const { following } = cells
  const chain = { ...world, log: log.child({ room: 'chain' }), node: core.node, index: core.indexer, following }
  await runAll(signal, {
    thread: (s) => raceAbort(core.node.broken, s),
    sync: (s) => runSync(chain, s),
    mempool: (s) => runMempool(chain, s),
    watch: (s) => core.watcher.run(s),
    registrations: (s) => core.registered.run(s),
    forgetting: (s) => runForgetting(core, s),
    rereading: (s) => runRereading({ ...core, api: core.node.with(s), log: chain.log, following }, s),
    status: (s) => runStatus(core, s),
    log: (s) => runMarketLog(core, s),
    monitor: (s) => monitor.run(s),
    ...(core.link && { link: (s: AbortSignal) => raceAbort(core.link!.failed, s) }),
    ...(core.sharing && { sharing: (s: AbortSignal) => core.sharing!.run(monitor, s) }),
    ...(door && { door: (s: AbortSignal) => door.run(s) }),
    trackers: (s) => core.trackers.run(s),
    relays: (s) => core.observer.run(s),
    start: (s) => watchStart(core, s),
    files: (s) => watchFiles(core, s),
    ...(supervisor && {
      notify: (s: AbortSignal) => runNotify(supervisor, () => summaryOf(statusRow(core)), world, s),
    }),
    ...(canary && { canary: (s: AbortSignal) => canary.run(s) }),
    ...(core.webhook && { webhook: (s: AbortSignal) => runWebhook(core, s) }),
    onion: (s) => runOnion(core, s),
  })
  log.info('stopped')
}

/** SIGUSR1 and SIGUSR2, as main.ts passes them on. */
function handleSignals(signals: SignalHandlers, core: Core): void {
  const { config, log, cells } = core
  let level = config.logLevel
  signals.dumpState = () => {
    const { following } = cells
    const relays = core.relays.rows()
    const memory = process.memoryUsage()
    writeAnyway(log, { status: statusRow(core), relays, following, memory, logLevel: level }, 'state')
  }
  signals.changeLogLevel = () => {
    level = nextLogLevel(level, config.logLevel)
    setLogLevel(log, level)
    writeAnyway(log, { logLevel: level }, 'log level changed')
  }
}

/**
 * Undefined without one: where none is wanted, or where its usual port, which nobody has chosen, is another program's: an
 * upgrade must not stop a tracker. Throws ConfigError.
 */
async function openNostrDoor(core: Core, monitor: Monitor): Promise<NostrDoor | undefined> {
  const { listen, isAskedFor } = core.config.nostr
  if (!listen) return undefined
  // What makers announce there is a hint to ask them whether they are alive, and no more.
  const onNamed = (outpoint: Outpoint, from: object) => {
    const address = core.market.liveAddressOf(outpoint)
    if (address !== undefined) monitor.hint(address, from)
  }
  try {
    return await openDoor({ listen, signer: core.signer!, onNamed }, core)
  } catch (error) {
    if (isAskedFor || !(error instanceof ConfigError)) throw error
    core.log.warn({ detail: error.message }, 'no Nostr relay: its usual port can not be had')
    return undefined
  }
}

function newMonitor(core: Core, signal: AbortSignal): Monitor {
  const { config, clock, random, log, market, liveness, canary, cells, db, api, meters } = core
  const judging = { db, api, network: config.network }
  const lane = core.work.lane(signal)
  return new Monitor(
    {
      rules: core.probeRules,
      atOnce: config.probes.atOnce,
      timeoutMs: config.probes.timeoutMs,
      socks: socksOf(config),
    },
    {
      clock,
      random,
      log: log.child({ room: 'peers' }),
      market,
      liveness,
      network: canary ?? DIRECT_NETWORK,
      dials: core.dials,
      turns: core.shared,
      judge: (proof, keys, address) => judgeProof(judging, proof, keys, address, lane),
      hasMarket: () => cells.following.hasReachedTip,
      self: () => core.self(),
      onProbe: (outcome, latencyMs) => meters.noteProbe(outcome, outcome === 'answered' ? latencyMs : undefined),
    },
  )
}

/** Keeps the stored status true. */
async function runStatus(core: Core, signal: AbortSignal): Promise<void> {
  const { clock, db, log } = core
  let stored = ''
  let storedMs = 0
  for (;;) {
    const row = statusRow(core)
    const text = JSON.stringify({ ...row, time: 0, uptime_s: 0 })
    const nowMs = clock.monotonicMs()
    if (text !== stored || nowMs - storedMs >= LIMITS.heartbeatMs) {
      storeStatus(db, row)
      storedMs = nowMs
      if (log.isLevelEnabled('debug')) {
        const { ready, height, connections, subscriptions, registrations, mempool } = row
        const counts = { connections, subscriptions, registrations, mempool: mempool.transactions }
        log.debug({ ready, height, ...counts, rssBytes: process.memoryUsage.rss() }, 'status stored')
      }
    }
    stored = text
    await sleep(LIMITS.statusMs, signal)
  }
}

/**
 * Ends the daemon when its files were deleted, moved or replaced: it would go on without keeping anything. Tells of a
 * reader that keeps the write-ahead log from being written back.
 */
async function watchFiles(core: Core, signal: AbortSignal): Promise<void> {
  const { db, log } = core
  let isLong = false
  for (;;) {
    core.assertFilesInPlace()
    const { walBytes } = db
    const wasLong = isLong
    isLong = walBytes > STORE_LIMITS.walToldBytes
    if (isLong && !wasLong) {
      log.warn({ walBytes }, 'the write-ahead log grows: a program has been reading the database for long (a backup?)')
    } else if (wasLong && !isLong) log.info({ walBytes }, 'the write-ahead log was written back')
    await sleep(LIMITS.filesMs, signal)
  }
}

/** Tells the webhook what has changed, and delivers. */
async function runWebhook({ changes, webhook, log }: Core, signal: AbortSignal): Promise<void> {
  let hasMarket = false
  const mute = changes.listen((told) => {
    if (!hasMarket && told.some(({ kind }) => kind === 'reset')) {
      hasMarket = true
      log.info('webhook: what happens from here on is told')
    }
    webhook?.tell(told)
  }, false)
  try {
    await webhook?.run(signal)
  } finally {
    mute()
  }
}

/** Gives up when bitcoind or Tor has not appeared within --start-timeout. */
async function watchStart({ config, cells, clock }: Core, signal: AbortSignal): Promise<void> {
  if (config.startTimeoutS === 0) return
  const deadlineMs = clock.monotonicMs() + config.startTimeoutS * 1000
  const waited = `within ${config.startTimeoutS} s (--start-timeout)`
  for (;;) {
    const hasNode = cells.following.answeredAtMs !== undefined
    const { onion } = cells
    const hasTor = onion.kind !== 'starting' && onion.kind !== 'unreachable'
    if (hasNode && hasTor) return
    if (clock.monotonicMs() >= deadlineMs) {
      if (!hasNode) throw new UnreachableError(`bitcoind did not answer ${waited}: ${cells.following.node.detail}`)
      throw new UnreachableError(`Tor did not answer ${waited}: ${onion.detail}`)
    }
    await sleep(100, signal)
  }
}

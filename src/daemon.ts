/**
 * Composition root: open what is ours (lock, database, listener), loop on what is not (bitcoind, Tor), close in reverse.
 * Only this file knows everyone.
 */
import { join } from 'node:path'
import { newFollowing, whyNotSynced } from './chain/following.ts'
import { runMempool } from './chain/mempool-sync.ts'
import { openNode } from './chain/node.ts'
import { runSync } from './chain/sync.ts'
import { runAll } from './concurrency.ts'
import { type Config, nodeOptions, socksOf } from './config.ts'
import { UnreachableError } from './errors.ts'
import { Meters } from './http/metrics.ts'
import { probingOf } from './http/probing.ts'
import { serveHttp } from './http/server.ts'
import { Indexer } from './indexer.ts'
import { CurrentMarket } from './market.ts'
import { runNotify, type Supervisor } from './notify.ts'
import { Canary, canaryTimes, DIRECT_VOUCHER } from './peers/canary.ts'
import { judgeProof, Posts } from './peers/judge.ts'
import { Liveness } from './peers/liveness.ts'
import { Monitor } from './peers/monitor.ts'
import { probeRules } from './peers/reach.ts'
import { Trackers } from './peers/trackers.ts'
import { whyOf } from './peers/why.ts'
import { currentReport, grantWishes, runReport, type Wishes } from './report.ts'
import { type Status, summaryOf, unseenHeights } from './status.ts'
import { lockDataDir } from './store/lock.ts'
import { openStore } from './store/open.ts'
import { formatHostPort, parseHostPort, reachableAddress } from './tor/address.ts'
import { type OnionState, runOnion, runTorrcOnion } from './tor/onion.ts'
import { VERSION } from './version.ts'
import { SpendRecorder } from './watch/recorder.ts'
import { Watcher } from './watch/watcher.ts'
import { Sender } from './webhooks/sender.ts'
import { runWebhooks } from './webhooks/watch.ts'
import { newHandle } from './wire/handlers.ts'
import { serveWire } from './wire/server.ts'
import { sleep, type World } from './world.ts'

interface Outside {
  wishes: Wishes
  /** The service manager that started us, if one did. */
  supervisor: Supervisor | undefined
}

/** Returns when `signal` has stopped every loop; rejects on the first fatal. */
export async function runDaemon(
  config: Config,
  world: World,
  signal: AbortSignal,
  { wishes, supervisor }: Outside,
): Promise<void> {
  const { clock, log } = world
  using _lock = lockDataDir(config.dataDir)
  const { db, identity, migrated } = openStore(config.dataDir, config.network)
  using _db = db
  if (migrated.length > 0) log.info({ migrated }, 'database schema brought up to date')

  const recorder = new SpendRecorder(db, identity.keySalt, clock)
  const indexer = new Indexer(db, recorder, config)
  const status: Status = {
    following: newFollowing(),
    onion:
      config.tor.kind === 'none' ? { kind: 'disabled', detail: '--no-tor' } : { kind: 'starting', detail: 'starting' },
  }
  status.following.tip = indexer.tip()

  await using node = await openNode(nodeOptions(config, identity.keySalt))
  const api = node.with(signal)
  const watcher = new Watcher({
    ...world,
    log: log.child({ room: 'watch' }),
    db,
    indexer,
    recorder,
    api,
    limits: config.watch,
  })
  const { probes, tor } = config
  const socks = socksOf(config)
  const rules = probeRules(probes.intervalMs, config.network === 'regtest')
  const peersLog = log.child({ room: 'peers' })
  const market = new CurrentMarket(db, indexer)
  const liveness = new Liveness(db, market, rules, clock)
  const judging = { db, api: node.with(signal), network: config.network }
  const posts = new Posts({ ...judging, liveness, clock, allowTestAddresses: config.allowTestAddresses })
  const canary =
    socks &&
    new Canary(
      {
        ...canaryTimes(probes.intervalMs),
        socks,
        timeoutMs: probes.timeoutMs,
        target: () =>
          status.onion.kind === 'published' ? { host: status.onion.onionHost, port: virtualPort } : undefined,
        report: (state) => {
          status.canary = state
        },
      },
      { clock, log: peersLog },
    )
  if (canary) status.canary = canary.state

  let listener = formatHostPort(config.listen)
  const ownAddress = () =>
    'onionHost' in status.onion ? formatHostPort({ host: status.onion.onionHost, port: config.listen.port }) : listener
  const why = whyOf({
    db,
    network: config.network,
    allowTestAddresses: config.allowTestAddresses,
    tip: () => indexer.tip(),
    unseen: () => unseenHeights(indexer.scannedFrom(), indexer.tip()),
    notSynced: () => whyNotSynced(status.following, clock.monotonicMs()),
    recordOf: (address) => liveness.record(address),
    reachOf: (address) => liveness.reachOf(address),
    isProven: (bond) => liveness.isProven(bond),
    clock,
  })
  const isCurrent = () => whyNotSynced(status.following, clock.monotonicMs()) === undefined
  const trackers = new Trackers(
    {
      ...config.trackers,
      timeoutMs: probes.timeoutMs,
      socks,
      network: config.network,
      allowTestAddresses: config.allowTestAddresses,
    },
    {
      ...world,
      log: peersLog,
      db,
      self: () => parseHostPort(ownAddress()),
      ownList: () => (isCurrent() ? market.atTip()?.list : undefined),
    },
  )
  const handle = newHandle({
    db,
    indexer,
    watcher,
    api,
    status,
    network: config.network,
    version: VERSION,
    clock,
    ownAddress,
    market,
    liveness,
    posts,
    trackers,
    why,
  })
  const meters = new Meters(clock)
  await using wire = await serveWire({ listen: config.listen, limits: config.wire }, meters.timed(handle), {
    ...world,
    log: log.child({ room: 'wire' }),
  })
  listener = formatHostPort(wire)
  const shown = {
    db,
    chain: indexer,
    status,
    market,
    probing: probingOf(db, liveness, trackers, clock),
    why,
    watcher,
    network: config.network,
    version: VERSION,
    clock,
    ownAddress,
    connections: () => wire.connections(),
  }
  meters.expose({
    ...shown,
    databasePath: db.path,
    subscriptions: () => watcher.subscriptions,
    requestCounts: () => wire.counts,
  })
  await using http =
    config.http && (await serveHttp(config.http, { ...shown, meters, log: log.child({ room: 'http' }) }))
  log.info(
    {
      version: VERSION,
      network: config.network,
      address: listener,
      dataDir: config.dataDir,
      pid: process.pid,
      ...(http && { http: formatHostPort(http) }),
    },
    'listening',
  )

  const { following } = status
  const chainWorld = { ...world, log: log.child({ room: 'chain' }), node, index: indexer, following }
  const torWorld = {
    ...world,
    log: log.child({ room: 'tor' }),
    report: (state: OnionState) => {
      status.onion = state
      if (state.kind === 'published') canary?.published()
      else canary?.lost(state.detail)
    },
  }
  const virtualPort = wire.port
  const startedAtMs = clock.nowMs()
  const reportDeps = { config, status, db, indexer, watcher, liveness, wire, world, ownAddress, startedAtMs }
  grantWishes(wishes, reportDeps)
  const monitor = new Monitor(
    { rules, atOnce: probes.atOnce, timeoutMs: probes.timeoutMs, socks },
    {
      ...world,
      log: peersLog,
      market,
      liveness,
      voucher: canary ?? DIRECT_VOUCHER,
      judge: (proof, keys, address) => judgeProof(judging, proof, keys, address),
      hasMarket: () => following.hasReachedTip,
      self: () => ({
        host: 'onionHost' in status.onion ? status.onion.onionHost : reachableAddress(wire).host,
        port: virtualPort,
      }),
      onProbe: (outcome, latencyMs) => meters.noteProbe(outcome, outcome === 'answered' ? latencyMs : undefined),
    },
  )
  const { webhook } = config
  const webhookWorld = { ...world, log: log.child({ room: 'webhooks' }) }
  const sender = webhook && new Sender({ ...webhook, socks, tracker: ownAddress }, webhookWorld)
  await runAll(signal, {
    thread: (s) => Promise.race([node.broken, untilAborted(s)]),
    sync: (s) => runSync(chainWorld, s),
    mempool: (s) => runMempool(chainWorld, s),
    watch: (s) => watcher.run(s),
    report: (s) => runReport(reportDeps, s),
    ...(supervisor && {
      notify: (s: AbortSignal) => runNotify(supervisor, () => summaryOf(currentReport(reportDeps)), world, s),
    }),
    monitor: (s) => monitor.run(s),
    trackers: (s) => trackers.run(s),
    ...(canary && { canary: (s: AbortSignal) => canary.run(s) }),
    ...(webhook &&
      sender && {
        webhooks: (s: AbortSignal) =>
          runWebhooks(
            {
              ...webhookWorld,
              ...{ market, liveness, trackers, status },
              rules: webhook,
              send: (event) => sender.send(event),
            },
            s,
          ),
        sender: (s: AbortSignal) => sender.run(s),
      }),
    start: (s) => watchStart(config, status, world, s),
    ...(tor.kind === 'control' && {
      onion: (s: AbortSignal) =>
        runOnion(
          {
            control: tor.control,
            password: tor.password,
            keyFile: join(config.dataDir, 'onion.key'),
            virtualPort,
            target: reachableAddress(wire),
          },
          torWorld,
          s,
        ),
    }),
    ...(tor.kind === 'torrc' && {
      onion: (s: AbortSignal) => runTorrcOnion({ hostnameFile: tor.hostnameFile, virtualPort }, torWorld, s),
    }),
  })
  log.info('stopped')
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** Gives up when bitcoind or Tor has not appeared within --start-timeout. */
async function watchStart(config: Config, status: Status, { clock }: World, signal: AbortSignal): Promise<void> {
  if (config.startTimeoutS === 0) return
  const deadlineMs = clock.monotonicMs() + config.startTimeoutS * 1000
  const waited = `within ${config.startTimeoutS} s (--start-timeout)`
  for (;;) {
    const hasNode = status.following.answeredAtMs !== undefined
    const { onion } = status
    const hasTor = onion.kind !== 'starting' && onion.kind !== 'unreachable'
    if (hasNode && hasTor) return
    if (clock.monotonicMs() >= deadlineMs) {
      if (!hasNode) throw new UnreachableError(`bitcoind did not answer ${waited}: ${status.following.node.detail}`)
      throw new UnreachableError(`Tor did not answer ${waited}: ${onion.detail}`)
    }
    await sleep(100, signal)
  }
}

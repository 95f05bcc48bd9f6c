/**
 * What a daemon consists of, opened once: lock, database, the hold of bitcoind, and everything that lives in memory. The
 * request server, HTTP, the views, the events and the daemon's loops take it as one argument. Opens and closes; runs
 * nothing.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { join } from 'node:path'
import { unseenOf, whyNotSynced } from './chain/following.ts'
import { type Node, openNode } from './chain/node.ts'
import type { NodeApi } from './chain/node-reader.ts'
import type { Network } from './chain/types.ts'
import { Background } from './concurrency.ts'
import { type Config, nodeOptions, socksOf } from './config.ts'
import { databasePath } from './data-places.ts'
import { describeError } from './errors.ts'
import { ChangeFeed } from './events/feed.ts'
import { Webhook } from './events/webhook.ts'
import { Indexer } from './indexer.ts'
import { CurrentMarket } from './market.ts'
import { Meters } from './metrics.ts'
import type { NostrDoor } from './nostr/door.ts'
import { openTrackerKey, TRACKER_KEY_FILE } from './nostr/key.ts'
import { Observer } from './nostr/observer.ts'
import { type EventSigner, eventSigner } from './nostr/signatures.ts'
import { Canary, canaryTimes } from './peers/canary.ts'
import { DialBudget } from './peers/dial-budget.ts'
import { Posts } from './peers/judge.ts'
import { Liveness } from './peers/liveness.ts'
import { type ProbeRules, probeRules } from './peers/reach.ts'
import { Trackers } from './peers/trackers.ts'
import type { Secret } from './secret.ts'
import { Sharing } from './sharing.ts'
import { type BeforeMigration, copyBeforeMigration } from './store/before-migration.ts'
import { awaitSoleUse, lockDataDir } from './store/lock.ts'
import { closeToOthers } from './store/modes.ts'
import { openStore } from './store/open.ts'
import { BackedShared } from './store/shared/backed.ts'
import type { Leases } from './store/shared/leases.ts'
import { forgetSharedPosition, LocalShared } from './store/shared/local.ts'
import type { OwnShared } from './store/shared/store.ts'
import { Untold } from './store/shared/untold.ts'
import { formatHostPort, type HostPort, isOnionHost, reachableAddress } from './tor/address.ts'
import { DescriptorLooks } from './tor/descriptor.ts'
import { Healing } from './tor/healing.ts'
import { ONION_KEY_FILE, openOnionKey } from './tor/key.ts'
import { readOwnHost } from './tor/own-host.ts'
import { VERSION } from './version.ts'
import { relayRow } from './views/relays.ts'
import { isAnswered, newStatusCells, type RunningFacts } from './views/status.ts'
import { LearntRegistrations } from './watch/learnt-registrations.ts'
import { SpendRecorder } from './watch/recorder.ts'
import { Registrations } from './watch/registrations.ts'
import { Watcher } from './watch/watcher.ts'
import type { ClientFacts } from './wire/connection.ts'
import type { SlotGroup } from './wire/slots.ts'
import { Work } from './wire/work.ts'
import type { World } from './world.ts'

export interface Core extends RunningFacts, Omit<World, 'clock'>, AsyncDisposable {
  readonly node: Node
  readonly api: NodeApi
  readonly indexer: Indexer
  readonly recorder: SpendRecorder
  readonly watcher: Watcher
  /** What strangers cost, whatever door they come by. */
  readonly work: Work
  readonly registered: Registrations
  /** What other trackers of this market may share with us. */
  readonly shared: OwnShared
  /** Undefined where it shares with nobody. */
  readonly sharing: Sharing | undefined
  /** The connection to the shared store: its failure is fatal. */
  readonly link: Background | undefined
  readonly trackers: Trackers
  /** Signs what we say on Nostr; undefined where nothing is said. */
  readonly signer: EventSigner | undefined
  /** Watches the relays that the operator names. */
  readonly observer: Observer
  /** What may be dialled because strangers ask for it. */
  readonly dials: DialBudget
  readonly probeRules: ProbeRules
  readonly posts: Posts
  /** Undefined without Tor. */
  readonly canary: Canary | undefined
  /** 16 bytes by which this process knows its own answers (Status). */
  readonly instance: Uint8Array
  /** When our onion service is to be published again. */
  readonly healing: Healing
  /** What one tracker does for all that share a store; undefined where it shares none. */
  readonly leases: Leases | undefined
  readonly meters: Meters
  /** Tells whoever listens what has changed. */
  readonly changes: ChangeFeed
  /** Undefined where nobody is to be told. */
  readonly webhook: Webhook | undefined
  /** Requests of takers that are taken just now; undefined until the daemon listens. */
  wire: Listening | undefined
  /** The Nostr relay; undefined until the daemon listens, and without one. */
  door: NostrDoor | undefined
  /** Throws StoreError when the files we have open are no longer those of the data directory. */
  assertFilesInPlace(): void
  /**
   * Where others reach us, as strangers are told: the onion service, or the listener without Tor. Never the listener with
   * it, not even while the service's name isn't known yet.
   */
  self(): HostPort
  /** Our own onion service as Tor has it: behind Onionbalance another one than strangers are told. */
  ownService(): HostPort
}

/** What we need of the request server. */
export interface Listening extends HostPort {
  connections(): number
  /** `kind/outcome` → how often. */
  readonly counts: ReadonlyMap<string, number>
  /** Connections that had to make room, by the group they were of. */
  readonly evicted: Readonly<Record<SlotGroup, number>>
  /** Replies on their way that are not taken yet, and clients cut off because of them. */
  readonly backlog: { readonly bytes: number; readonly cut: number }
  clients(): (ClientFacts & { group: SlotGroup })[]
}

/** A name that stands for nobody (RFC 6761). */
const NAMELESS = 'unknown.invalid'

/** What was opened, closed in reverse. */
class Held implements AsyncDisposable {
  readonly #all: (Disposable | AsyncDisposable)[] = []

  add<T extends Disposable | AsyncDisposable>(one: T): T {
    this.#all.push(one)
    return one
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#all.splice(0).reverse()) {
      if (Symbol.asyncDispose in one) await one[Symbol.asyncDispose]()
      else one[Symbol.dispose]()
    }
  }
}

/** `signal`: whatever waits for bitcoind on somebody's behalf gives up when it fires. Throws ConfigError or StoreError. */
export async function openCore(config: Config, world: World, signal: AbortSignal): Promise<Core> {
  const held = new Held()
  try {
    return await assemble(config, world, signal, held)
  } catch (error) {
    await held[Symbol.asyncDispose]() // a thread left running would keep the process
    throw error
  }
}

/** What PostgreSQL needs is loaded where it is used. */
async function openSharedStore(url: Secret, network: Network, world: World) {
  const { openPostgresShared } = await import('./store/shared/postgres/open.ts')
  return openPostgresShared(url, network, { ...world, log: world.log.child({ room: 'shared' }) })
}

function tellOfCopy(before: BeforeMigration, log: World['log']): void {
  if (before.kind === 'copied') {
    log.info({ file: before.file, bytes: before.bytes }, 'database copied before its schema is brought up to date')
  } else if (before.kind === 'no-room') {
    const { freeBytes, neededBytes } = before
    log.warn(
      { freeBytes, neededBytes },
      'database not copied before its schema is brought up to date: too little room on its disk',
    )
  }
}

async function assemble(config: Config, world: World, signal: AbortSignal, held: Held): Promise<Core> {
  const { clock, log } = world
  const { network } = config
  const lock = held.add(lockDataDir(config.dataDir))
  const modes = closeToOthers(config.dataDir)
  if (modes.closed.length > 0) log.info({ files: modes.closed }, 'closed to other users of this machine')
  if (modes.open.length > 0) {
    log.warn(
      { files: modes.open },
      'open to other users of this machine, and not ours to close: chmod go= as their owner',
    )
  }
  await awaitSoleUse(databasePath(config.dataDir), clock, signal)
  tellOfCopy(await copyBeforeMigration(config.dataDir, signal), log)
  const { db, identity, migrated } = openStore(config.dataDir, config.network)
  held.add(db)
  if (migrated.length > 0) log.info({ migrated }, 'database schema brought up to date')
  const node = held.add(await openNode(nodeOptions(config, identity.keySalt), log.child({ room: 'chain' })))
  const api = node.with(signal)

  const cells = newStatusCells(config.tor.kind !== 'none', config.servePartial)
  if (config.tor.kind === 'control') openOnionKey(join(config.dataDir, ONION_KEY_FILE)) // made now, if there is none
  const ownHost = await readOwnHost(config)
  if (ownHost !== undefined) cells.onionHost = ownHost
  const { following } = cells
  const notSynced = () => whyNotSynced(following, clock.monotonicMs())
  const unseen = () => unseenOf(following)
  const work = new Work(config.wire, clock)
  const sharedStore = config.sharedStore && (await openSharedStore(config.sharedStore, network, world))
  if (!sharedStore) forgetSharedPosition(db)
  const untold = new Untold(db, sharedStore !== undefined, () => clock.nowMs())
  const shared = sharedStore
    ? new BackedShared(db, sharedStore.common, () => sharedStore.link.state.kind === 'up', clock)
    : new LocalShared(db)
  const source = randomInt(1, 2 ** 48 - 1)
  const recorder = new SpendRecorder(db, identity.keySalt, clock)
  const { registrations, registrationsReadMs } = recorder
  if (registrationsReadMs > 1_000)
    log.info({ registrations, ms: Math.round(registrationsReadMs) }, 'registrations read')
  const indexer = new Indexer(db, recorder, config)
  following.tip = indexer.tip()
  following.scannedFrom = indexer.scannedFrom()
  const watchLog = log.child({ room: 'watch' })
  const watching = {
    ...world,
    log: watchLog,
    db,
    indexer,
    recorder,
    api,
    limits: config.watch,
    lane: work.lane(signal),
    shared,
    untold,
  }
  const watcher = new Watcher(watching)
  const registered = new Registrations({ ...watching, watcher })

  const { probes, allowTestAddresses } = config
  const peersLog = log.child({ room: 'peers' })
  const socks = socksOf(config)
  const rules = probeRules(probes.intervalMs, network === 'regtest')
  const market = new CurrentMarket(db, indexer)
  const liveness = new Liveness(db, market, rules, clock, { source, untold })
  const sharing =
    sharedStore &&
    new Sharing({
      ...{ ...world, ...sharedStore, db, indexer, untold, source, liveness, notSynced },
      log: log.child({ room: 'shared' }),
      learnt: new LearntRegistrations({ ...watching, watcher, ends: registered.ends }),
      lane: work.lane(signal),
    })
  if (sharing) cells.shared = sharing
  // Until everything else is closed: who stops gives back what he holds.
  const link = sharedStore && held.add(new Background((s) => sharedStore.link.run(s)))
  const posts = new Posts({ db, api, network, allowTestAddresses, liveness, clock })
  const instance = randomBytes(16)
  const times = canaryTimes(probes.intervalMs)
  const healing = new Healing(times.everyMs, clock)
  const { tor } = config
  const publicOnion = tor.kind === 'torrc' ? tor.publicOnion : undefined
  const hasName = () => publicOnion !== undefined || cells.onionHost !== undefined
  const looks =
    tor.kind !== 'none' && tor.control
      ? new DescriptorLooks({ ...tor, control: tor.control, log: log.child({ room: 'tor' }) }, clock)
      : undefined
  const canary =
    socks &&
    new Canary(
      {
        ...times,
        socks,
        instance,
        look: looks && ((onionHost, s) => looks.look(onionHost, s)),
        timeoutMs: probes.timeoutMs,
        target: () => (isAnswered(cells.onion) ? core.ownService() : undefined),
        isOurs: () => cells.onion.kind !== 'standby',
        report: (state) => {
          cells.canary = state
          if (state.kind !== 'green') return
          cells.canaryGreenS = Math.floor(clock.nowMs() / 1000)
          healing.reached()
          delete cells.republishedAtMs
        },
        unreached: (why) => healing.note(why),
      },
      { clock, log: peersLog },
    )
  if (canary) cells.canary = canary.state
  // Who is told of us dials back at once, and not again for an hour.
  const tellsAddress = () => (canary && canary.state.kind !== 'green' ? undefined : core.self())
  // One that lacks bonds says nothing of others.
  const isWhole = () => notSynced() === undefined && unseen() === undefined
  const wholeList = () => (isWhole() ? market.atTip()?.list : undefined)
  const dials = new DialBudget(clock)
  const trackers = new Trackers(
    { ...config.trackers, timeoutMs: probes.timeoutMs, socks, network, allowTestAddresses },
    {
      ...world,
      log: peersLog,
      db,
      dials,
      selves: () => [core.self(), core.ownService()],
      tellsAddress,
      ownList: wholeList,
    },
  )

  const { nostr } = config
  const speaks = nostr.listen !== undefined || nostr.publish
  const signer = speaks ? eventSigner(openTrackerKey(join(config.dataDir, TRACKER_KEY_FILE))) : undefined
  const observer = new Observer(
    { relays: nostr.relays, network, socks },
    {
      ...world,
      log: log.child({ room: 'nostr' }),
      db,
      work,
      liveness,
      market: () => market.read(),
      isWhole,
      ownNews() {
        const self = tellsAddress()
        const list = wholeList()
        if (!self || !list || !isOnionHost(self.host)) return undefined
        const { height, hash: blockHash } = list.tip
        return { ...self, network, version: VERSION, height, blockHash, digest: list.digest.toString('hex') }
      },
      onTracker: ({ host, port }, from) => trackers.hint(host, port, from),
      signer: nostr.publish ? signer : undefined,
      leases: shared,
      rowOf: relayRow,
    },
  )

  const { webhook } = config
  const webhookLog = log.child({ room: 'webhook' })
  const core: Core = {
    ...world,
    config,
    db,
    node,
    api,
    cells,
    chain: indexer,
    indexer,
    recorder,
    watcher,
    work,
    registered,
    shared,
    sharing,
    link,
    market,
    liveness,
    probeRules: rules,
    posts,
    canary,
    instance,
    healing,
    leases: sharedStore && shared,
    trackers,
    signer,
    observer,
    relays: { rows: () => observer.list().map(relayRow), without: (txid) => observer.without(txid) },
    dials,
    meters: new Meters(),
    get changes() {
      return changes
    },
    webhook:
      webhook && new Webhook({ ...webhook, socks, tracker: () => core.ownAddress() }, { ...world, log: webhookLog }),
    wire: undefined,
    door: undefined,
    startedAtMs: clock.nowMs(),
    notSynced,
    assertFilesInPlace() {
      db.assertInPlace()
      lock.assertInPlace()
    },
    unseen,
    self() {
      const { port } = core.ownService()
      return publicOnion === undefined ? core.ownService() : { host: publicOnion, port }
    },
    ownService() {
      const local = reachableAddress(core.wire ?? config.listen)
      if (config.tor.kind === 'none') return local
      return { host: cells.onionHost ?? NAMELESS, port: local.port }
    },
    ownAddress: () => formatHostPort(hasName() ? core.self() : reachableAddress(core.wire ?? config.listen)),
    connections: () => core.wire?.connections() ?? 0,
    subscriptions: () => watcher.subscriptions,
    registrations: () => registered.count,
    nostr() {
      const { door } = core
      if (!door) return null
      // The default port is left out of a URL.
      const url = hasName() ? `ws://${core.self().host}` : `ws://${formatHostPort(reachableAddress(door))}`
      const { pubkey } = door
      return {
        url,
        pubkey,
        events: door.events(),
        connections: door.connections(),
        subscriptions: door.subscriptions(),
      }
    },
    async [Symbol.asyncDispose]() {
      changes[Symbol.dispose]()
      await held[Symbol.asyncDispose]()
    },
  }
  const changes = new ChangeFeed(core, (error) =>
    log.warn({ detail: describeError(error) }, 'changes could not be told'),
  )
  core.meters.expose(core)
  return core
}

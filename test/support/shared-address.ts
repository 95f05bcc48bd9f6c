/**
 * One onion address, three trackers: real daemons with a Tor each, one PostgreSQL and one bitcoind, each daemon behind lines
 * of its own to both; a client, and a stranger, with a Tor of theirs. What happens to the holder of the address is done
 * here, and what comes of it is measured.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Outpoint } from '../../src/chain/types.ts'
import { openStoreReadonly } from '../../src/store/open.ts'
import { readRegistrations } from '../../src/store/shared/registrations.ts'
import { type HostPort, onionHostOf } from '../../src/tor/address.ts'
import { HELD_BY_ANOTHER } from '../../src/tor/address-lease.ts'
import { decodeOnionKey, ONION_KEY_FILE, openOnionKey } from '../../src/tor/key.ts'
import { publicKeyOf } from '../../src/tor/public-key.ts'
import type { Request } from '../../src/wire/messages.ts'
import { freePorts } from '../sandbox/ports.ts'
import { PostgresServer } from '../sandbox/postgres.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Coin, spend } from './coins.ts'
import { startOnionTracker } from './onion-tracker.ts'
import { Publications } from './publications.ts'
import { Stranger } from './stranger.ts'
import { TcpLine } from './tcp-line.ts'

const COUNT = 3
/** Of the Tors behind theirs. */
const CLIENT = COUNT
const STRANGER = COUNT + 1
/** Who meets the old holder's last breath is held by his own Tor for long: he hangs up, and comes again. */
const ATTEMPT_MS = 3_000
const PATIENCE_MS = 90_000

/** One tracker, and what it depends on. */
export interface Member {
  tracker: Tracker
  /** Of its Tor. */
  index: number
  toPostgres: TcpLine
  toNode: TcpLine
}

export interface Trouble {
  what: string
  befall(member: Member, tor: TorNetwork): Promise<void> | void
  /** It is over: the tracker, if it isn't running, is started again. */
  end(member: Member, tor: TorNetwork): Promise<void> | void
}

const signal = ({ tracker }: Member, name: NodeJS.Signals) => void process.kill(tracker.pid, name)

/** What may happen to the holder of the address. */
export const TROUBLES: readonly Trouble[] = [
  {
    what: 'killed',
    befall: async ({ tracker }) => void (await tracker.stop('SIGKILL')),
    end: ({ tracker }) => tracker.launch(),
  },
  { what: 'frozen', befall: (member) => signal(member, 'SIGSTOP'), end: (member) => signal(member, 'SIGCONT') },
  {
    what: 'refused by PostgreSQL',
    befall: ({ toPostgres }) => toPostgres.hangUp(),
    end: ({ toPostgres }) => toPostgres.calm(),
  },
  {
    what: 'cut off from PostgreSQL',
    befall: ({ toPostgres }) => toPostgres.stall(),
    end: ({ toPostgres }) => toPostgres.calm(),
  },
  { what: 'without bitcoind', befall: ({ toNode }) => toNode.hangUp(), end: ({ toNode }) => toNode.calm() },
  {
    what: 'without its Tor',
    befall: ({ index }, tor) => tor.kill(index),
    end: ({ index }, tor) => tor.restart(index),
  },
  { what: 'stopped', befall: (member) => signal(member, 'SIGTERM'), end: ({ tracker }) => relaunch(tracker) },
]

async function relaunch(tracker: Tracker): Promise<void> {
  await tracker.exited()
  tracker.launch()
}

/** What came of one trouble. Milliseconds from its beginning. */
export interface TakeOver {
  /** Whom it befell. */
  holder: Member
  withdrawnMs: number
  publishedMs: number
  /** A stranger, whose Tor knew nothing of the address, was answered by another tracker. */
  servedMs: number
  /** A client that had registered through the address was told there of the spend. */
  toldMs: number
}

export class SharedAddress implements AsyncDisposable {
  readonly address: HostPort
  readonly members: readonly Member[]
  readonly node: Regtest
  readonly tor: TorNetwork
  readonly publications: Publications
  readonly #client: Stranger
  readonly #stranger: Stranger
  readonly #things: AsyncDisposableStack

  private constructor(
    address: HostPort,
    members: readonly Member[],
    { node, tor }: { node: Regtest; tor: TorNetwork },
    { client, stranger }: { client: Stranger; stranger: Stranger },
    publications: Publications,
    things: AsyncDisposableStack,
  ) {
    this.address = address
    this.members = members
    this.node = node
    this.tor = tor
    this.#client = client
    this.#stranger = stranger
    this.publications = publications
    this.#things = things
  }

  /** Started, and one of them has published; the others stand by. */
  static async start(): Promise<SharedAddress> {
    await using things = new AsyncDisposableStack()
    const postgres = await PostgresServer.start({ after: (end) => things.defer(end) })
    const tor = things.use(await TorNetwork.start({ clients: COUNT + 2 }))
    const node = things.use(await Regtest.start())
    const home = mkdtempSync(join(tmpdir(), 'ft-shared-'))
    things.defer(() => rmSync(home, { recursive: true, force: true }))
    const port = (await freePorts(1))[0]!
    const keyFile = join(home, ONION_KEY_FILE)
    const host = onionHostOf(publicKeyOf(decodeOnionKey(openOnionKey(keyFile).reveal())!))
    const members: Member[] = []
    for (let index = 0; index < COUNT; index++) {
      const toPostgres = things.use(await TcpLine.before({ host: '127.0.0.1', port: postgres.port }))
      const toNode = things.use(await TcpLine.before({ host: '127.0.0.1', port: node.rpcPort }))
      const dataDir = join(home, `${index}`)
      mkdirSync(dataDir, { mode: 0o700 })
      copyFileSync(keyFile, join(dataDir, ONION_KEY_FILE))
      const tracker = await startOnionTracker(node, tor.clients[index]!, {
        dataDir,
        // The port is a part of the address.
        ...{ host: `127.0.0.${index + 1}`, port },
        via: { rpcPort: toNode.address.port },
        env: { FIDELITY_TRACKER_SHARED_STORE: postgres.url({ port: toPostgres.address.port }) },
        args: ['--onion-lease'],
      })
      members.push({ tracker: things.use(tracker), index, toPostgres, toNode })
    }
    const publications = things.use(new Publications(tor.clients.slice(0, COUNT), host))
    const client = things.use(await Stranger.at(tor.clients[CLIENT]!))
    const stranger = things.use(await Stranger.at(tor.clients[STRANGER]!))
    const shared = new SharedAddress(
      { host, port },
      members,
      { node, tor },
      { client, stranger },
      publications,
      things.move(),
    )
    try {
      for (const { tracker } of members) await tracker.caughtUp(node)
      await shared.settled()
      await shared.#stranger.reach(shared.address)
      return shared
    } catch (error) {
      await shared[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Waits until one has published and all others stand by for it, with all that they need; returns the holder. */
  async settled(): Promise<Member> {
    // What is stored may be of an earlier life.
    const rows = () =>
      this.members.map(({ tracker }) => {
        const row = tracker.status()
        return row?.pid === tracker.pid ? row : undefined
      })
    const found = await waitUntil(
      'one has published and the others stand by',
      () => {
        const states = rows()
        const holders = this.members.filter((_, i) => states[i]?.onion.state === 'published')
        const others = states.filter((row) => row?.onion.detail === HELD_BY_ANOTHER)
        const isShared = states.every((row) => row?.synced && row.checks.shared_store?.ok)
        return isShared && others.length === COUNT - 1 && this.#isOnlyOne(holders[0]) && holders[0]
      },
      { timeoutMs: PATIENCE_MS, everyMs: 100 },
    ).catch((error: unknown) => {
      const told = rows().map((row) => row && [row.onion.state, row.onion.detail, row.not_ready])
      const ends = this.members.map(({ tracker }) => [tracker.stderr, tracker.log.slice(-3)])
      throw new Error(`${error}: ${JSON.stringify(told)}; ${JSON.stringify(ends)}`)
    })
    return found
  }

  #isOnlyOne(holder: Member | undefined): boolean {
    const { listed } = this.publications
    return holder !== undefined && listed.length === 1 && listed[0] === holder.index
  }

  /** Until it is answered so, as a client does that comes again. */
  async register({ txid, vout }: Outpoint): Promise<void> {
    const request: Request = { type: 'Register', outpoints: [{ txid, vout }], ttlBlocks: 1_000 }
    await this.#again('it is registered', () => this.#client.request(this.address, request, 'Registered', ATTEMPT_MS))
  }

  /**
   * The client registers the coin through the address, and the stranger's Tor forgets all it knows. Then the trouble befalls the holder, and the coin is
   * spent. Waits until another has taken over in every respect; the trouble is still there.
   */
  async takeOver({ what, befall }: Trouble, coin: Coin): Promise<TakeOver> {
    const holder = await this.settled()
    const logged = this.members.map(({ tracker }) => tracker.log.length)
    const { instance } = await holder.tracker.ask({ type: 'Status' }, 'Status')
    await this.register(coin)
    await this.#stranger.forget()
    const startMs = performance.now()
    const since = () => performance.now() - startMs
    await befall(holder, this.tor)
    const spent = spend(this.node, [coin])
    const [withdrawnMs, publishedMs, servedMs, toldMs] = await Promise.all([
      this.publications.withdrawn(holder.index).then(since),
      this.#publishedBy(holder, logged).then(since),
      this.#servedByAnother(instance!, what).then(since),
      spent.then(({ txid }) => this.#told(coin, txid)).then(since),
    ])
    this.#assertKept(holder, coin)
    return { holder, withdrawnMs, publishedMs, servedMs, toldMs }
  }

  /** The trouble ends; waits until whom it had befallen stands by. Returns who holds the address then. */
  async recover({ end }: Trouble, member: Member): Promise<Member> {
    await end(member, this.tor)
    return await this.settled()
  }

  async #publishedBy(old: Member, logged: readonly number[]): Promise<void> {
    await waitUntil(
      'another has published',
      () => {
        const { listed } = this.publications
        const [i] = listed
        if (listed.length !== 1 || i === old.index) return false
        return this.members[i!]!.tracker.log.slice(logged[i!]).some(({ msg }) => msg === 'onion service published')
      },
      { timeoutMs: PATIENCE_MS, everyMs: 5 },
    )
  }

  async #servedByAnother(old: Uint8Array, what: string): Promise<void> {
    await this.#again(`a stranger is answered, the holder being ${what}`, async () => {
      const reply = await this.#stranger.ask(this.address, ATTEMPT_MS)
      return Buffer.compare(reply.instance!, old) !== 0
    })
  }

  /** The trackers that the trouble has not befallen know of the registration, whoever has taken it. */
  #assertKept(old: Member, { txid, vout }: Coin): void {
    for (const { tracker, index } of this.members) {
      if (index === old.index) continue
      using db = openStoreReadonly(tracker.dataDir)
      const isKept = readRegistrations(db).some((one) => one.txid === txid && one.vout === vout)
      if (!isKept) throw new Error(`tracker ${index} does not know of the registration of ${txid}:${vout}`)
    }
  }

  async #told({ txid, vout }: Coin, by: string): Promise<void> {
    await this.#again('the client is told', async () => {
      const request: Request = { type: 'WatchMany', outpoints: [{ txid, vout }] }
      const { spends } = await this.#client.request(this.address, request, 'Spends', ATTEMPT_MS)
      const [told] = spends
      return told?.state === 'mempool' && told.txid === by
    })
  }

  /** Until it gives something true; fails with what the last attempt met. */
  async #again(what: string, attempt: () => Promise<unknown>): Promise<void> {
    let met: unknown
    const once = async () => {
      try {
        return await attempt()
      } catch (error) {
        met = error
        return undefined
      }
    }
    await waitUntil(what, once, { timeoutMs: PATIENCE_MS, everyMs: 20 }).catch((error: unknown) => {
      throw new Error(String(error), { cause: met })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#things.disposeAsync()
  }
}

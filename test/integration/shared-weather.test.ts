/** What PostgreSQL may do to trackers that share it: registrations wait, nothing else does, and nothing is lost. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NEWS_CHANNEL } from '../../src/store/shared/postgres/writing.ts'
import { formatHostPort } from '../../src/tor/address.ts'
import { DATABASE, PASSWORD, type PostgresServer, USER } from '../sandbox/postgres.ts'
import type { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type Coin, makeCoins, spend } from '../support/coins.ts'
import { Fleet, knows, lonely, register, registrationsAt, sharedCheck, tells } from '../support/fleet.ts'
import { joinShared } from '../support/shared-store.ts'
import { TcpLine } from '../support/tcp-line.ts'

/** `Get`, and who spends an outpoint, as if nothing had happened. */
async function everythingElse({ node, trackers }: Fleet, coin: Coin): Promise<void> {
  for (const tracker of trackers) assert.deepEqual(await tracker.addresses(), [])
  await spend(node, [coin])
  for (const tracker of trackers) await tells(tracker, coin, 'mempool')
}

async function refusesAll(fleet: Fleet, coin: Coin): Promise<void> {
  for (const tracker of fleet.trackers) {
    await lonely(tracker)
    await assert.rejects(register(tracker, [coin]), /busy/)
  }
}

/** Registered by one, and learnt by the other. */
async function registersAgain({ trackers: [a, b] }: Fleet, coin: Coin): Promise<void> {
  await register(a!, [coin])
  await knows(b!, [coin])
}

test('frozen, killed, read-only, full: registrations are answered busy, everything else goes on, and all of it heals', async (t) => {
  await using fleet = await Fleet.start(t, { count: 2 })
  const { postgres } = fleet
  const coins = await makeCoins(fleet.node, 8)
  const [kept] = coins.splice(0, 1)
  await fleet.together()
  await registersAgain(fleet, kept!)

  await t.test('frozen', async () => {
    postgres.freeze()
    t.after(() => postgres.thaw())
    await refusesAll(fleet, coins[0]!)
    await everythingElse(fleet, coins[1]!)
    postgres.thaw()
    await fleet.together()
    await registersAgain(fleet, coins[0]!)
  })

  await t.test('killed and started again', async () => {
    await postgres.kill()
    await refusesAll(fleet, coins[2]!)
    await everythingElse(fleet, coins[3]!)
    await postgres.launch()
    await fleet.together()
    await registersAgain(fleet, coins[2]!)
  })

  await t.test('read-only', async () => {
    await postgres.set('default_transaction_read_only', 'on')
    await refusesAll(fleet, coins[4]!)
    for (const tracker of fleet.trackers) assert.match((await sharedCheck(tracker)).detail, /read-only/)
    await everythingElse(fleet, coins[5]!)
    await postgres.psql('ALTER SYSTEM RESET default_transaction_read_only')
    await postgres.psql('SELECT pg_reload_conf()')
    await fleet.together()
    await registersAgain(fleet, coins[4]!)
  })

  await t.test('no room left', async () => {
    await fillDisk(postgres)
    for (const tracker of fleet.trackers) await assert.rejects(register(tracker, [coins[6]!]), /busy/)
    for (const tracker of fleet.trackers) assert.deepEqual(await tracker.addresses(), [])
    assert.equal(registrationsAt(fleet.trackers[0]!).has(`${coins[6]!.txid}:${coins[6]!.vout}`), false)
    await postgres.psql('DROP TRIGGER full_disk ON watches', DATABASE)
    await registersAgain(fleet, coins[6]!)
  })

  for (const tracker of fleet.trackers) {
    assert(registrationsAt(tracker).has(`${kept!.txid}:${kept!.vout}`), 'what was there before is there')
    assert.deepEqual(
      tracker.log.filter(({ level }) => level >= 50),
      [],
    )
  }
})

/** PostgreSQL says what it says where no page can be added to a table. */
async function fillDisk(postgres: PostgresServer): Promise<void> {
  await postgres.psql(
    `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$`,
    DATABASE,
  )
  await postgres.psql(
    'CREATE TRIGGER full_disk BEFORE INSERT ON watches FOR EACH ROW EXECUTE FUNCTION full_disk()',
    DATABASE,
  )
}

test('put back from an older dump: what was registered since is put there by the trackers', async (t) => {
  await using fleet = await Fleet.start(t)
  const [a, b, c] = fleet.trackers as [Tracker, Tracker, Tracker]
  const coins = await makeCoins(fleet.node, 4)
  await fleet.together()
  await register(a, [coins[0]!])
  const dump = await fleet.postgres.dump(DATABASE)
  await register(b, [coins[1]!])
  for (const tracker of fleet.trackers) await knows(tracker, coins.slice(0, 2))
  // As an operator does it: nobody is let in meanwhile.
  await fleet.postgres.psql(`ALTER ROLE ${USER} NOLOGIN`)
  await fleet.postgres.restore(DATABASE, dump)
  assert.equal(await fleet.postgres.psql('SELECT count(*) FROM watches', DATABASE), '1')
  await refusesAll(fleet, coins[3]!)
  await fleet.postgres.psql(`ALTER ROLE ${USER} LOGIN`)
  await waitUntil('what was lost is there again', async () => {
    return (await fleet.postgres.psql('SELECT count(*) FROM watches', DATABASE).catch(() => '')) === '2'
  })
  await fleet.together()
  const lost = 'the shared store is not as it was left: compared as a whole, and what it lacked was put there'
  for (const tracker of fleet.trackers) await tracker.said(lost)
  await register(c, [coins[2]!])
  for (const tracker of fleet.trackers) await knows(tracker, coins.slice(0, 3))
  const late = await fleet.add()
  await fleet.together()
  await knows(late, coins.slice(0, 3))
})

test('a notice that never comes is made up for by a look', async (t) => {
  await using fleet = await Fleet.start(t, { count: 2 })
  const [a, b] = fleet.trackers as [Tracker, Tracker]
  const coins = await makeCoins(fleet.node, 6)
  await fleet.together()
  const seen = fleet.trackers.map(({ log }) => log.length)
  await silence(fleet.postgres)
  for (const [i, tracker] of fleet.trackers.entries()) await tracker.said('shared database is there', seen[i])
  await fleet.together()
  const heard: string[] = []
  await joinShared(t, fleet.postgres, { before: (one) => one.listen(NEWS_CHANNEL, (payload) => heard.push(payload)) })
  for (const coin of coins) {
    await register(a, [coin])
    await knows(b, [coin], 6_000)
  }
  assert.deepEqual(heard, [])
})

/** Nothing is told any more: our own schema comes before PostgreSQL's, and has a `pg_notify` that does nothing. */
async function silence(postgres: PostgresServer): Promise<void> {
  await postgres.psql('CREATE SCHEMA mute', DATABASE)
  await postgres.psql(
    "CREATE FUNCTION mute.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'; GRANT USAGE ON SCHEMA mute TO PUBLIC",
    DATABASE,
  )
  await postgres.psql(`ALTER ROLE ${USER} IN DATABASE ${DATABASE} SET search_path = mute, pg_catalog, public`)
  // Only new connections read it.
  await postgres.psql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${USER}'`)
}

test('a line that swallows everything is noticed, and what was missed is read afterwards', async (t) => {
  let line: TcpLine | undefined
  await using fleet = await Fleet.start(t, { count: 1 })
  line = await TcpLine.before({ host: '127.0.0.1', port: fleet.postgres.port })
  t.after(() => line![Symbol.asyncDispose]())
  const password = encodeURIComponent(PASSWORD)
  const url = `postgres://${USER}:${password}@${formatHostPort(line.address)}/${DATABASE}`
  const [a] = fleet.trackers as [Tracker]
  const b = await fleet.add({ env: { FIDELITY_TRACKER_SHARED_STORE: url } })
  const coins = await makeCoins(fleet.node, 2)
  await fleet.together()
  line.stall()
  await register(a, [coins[0]!])
  await lonely(b)
  await assert.rejects(register(b, [coins[1]!]), /busy/)
  assert.equal(registrationsAt(b).size, 0)
  line.calm()
  await fleet.together()
  await knows(b, [coins[0]!])
  await register(b, [coins[1]!])
  await knows(a, coins)
})

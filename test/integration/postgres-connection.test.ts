/**
 * The way to PostgreSQL and its losses, on a real server: killed, frozen, restarted, failed over under us, closed to us in
 * every way, and back. Method: `Postgres` as the daemon runs it, its state watched; an exception that nobody catches fails
 * the test by itself.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { ConfigError, TransientError } from '../../src/errors.ts'
import { parsePostgresAddress } from '../../src/store/shared/postgres/address.ts'
import { Postgres, type PostgresState } from '../../src/store/shared/postgres/postgres.ts'
import { systemClock } from '../../src/world.ts'
import { DATABASE, PASSWORD, PostgresServer, USER } from '../sandbox/postgres.ts'
import { waitUntil } from '../sandbox/wait.ts'

const WORLD = { clock: systemClock, random: Math.random, log: pino({ level: 'silent' }) }

interface Run {
  postgres: Postgres
  /** How often it has become ready. */
  readonly ready: number
  readonly notices: readonly string[]
  /** Settles when `run` does. */
  over: Promise<void>
  stop(): Promise<void>
  becomes(kind: PostgresState['kind'], words?: RegExp): Promise<string>
}

function running(t: TestContext, url: string): Run {
  const postgres = new Postgres(parsePostgresAddress(url), 'regtest', WORLD)
  const stopping = new AbortController()
  const notices: string[] = []
  let ready = 0
  postgres.listen('word', (payload) => notices.push(payload))
  postgres.onReady(() => ready++)
  const over = postgres.run(stopping.signal)
  over.catch(() => {}) // the test looks at it, if it should fail
  const stop = async () => {
    stopping.abort()
    await over
  }
  t.after(() => stop().catch(() => {}))
  return {
    postgres,
    over,
    notices,
    stop,
    get ready() {
      return ready
    },
    async becomes(kind, words = /./) {
      let last = postgres.state
      try {
        await waitUntil(`it is ${kind}, ${words}`, () => {
          last = postgres.state
          return last.kind === kind && words.test(last.detail)
        })
      } catch (cause) {
        throw new Error(`it is ${last.kind}: ${last.detail}`, { cause })
      }
      assert.ok(!postgres.state.detail.includes(PASSWORD))
      return postgres.state.detail
    },
  }
}

test('killed and restarted: asked again at once, told of as weather, listened to again', async (t) => {
  const server = await PostgresServer.start(t)
  const run = running(t, server.url())
  await run.becomes('up', /^the primary at 127\.0\.0\.1:\d+ answers, without TLS$/)
  await server.psql("NOTIFY word, 'one'", DATABASE)
  await waitUntil('the notice is there', () => run.notices.includes('one'))

  await server.kill()
  await run.becomes('down')
  await assert.rejects(run.postgres.query('SELECT 1', []), TransientError)
  await assert.rejects(run.postgres.db.selectFrom('identity').selectAll().execute(), TransientError)
  await run.becomes('down', /not reached .*ECONNREFUSED/)
  await server.launch()
  await run.becomes('up')
  assert.deepEqual(await run.postgres.query('SELECT 1 AS one', []), [{ one: 1 }])
  await server.psql("NOTIFY word, 'two'", DATABASE)
  await waitUntil('the notice is there', () => run.notices.includes('two'))
  assert.equal(run.ready, 2, 'told once for each time')

  await server.restart()
  await waitUntil('it was there again', () => run.ready === 3)
  await run.becomes('up')
  await run.stop()
  assert.deepEqual(await server.connections(), [], 'nothing is left open')
  assert.doesNotMatch(server.log, /unexpected EOF|could not receive data/, 'and goodbye was said')
})

test('killed while statements and transactions are under way: each fails as weather', async (t) => {
  const server = await PostgresServer.start(t)
  const run = running(t, server.url())
  await run.becomes('up')
  const slow = () => run.postgres.query('SELECT pg_sleep(3)', [])
  const between = run.postgres.transaction(async (query) => {
    await query('SELECT 1', [])
    await server.kill()
    await run.becomes('down')
    return await query('SELECT 2', [])
  })
  const all = await Promise.allSettled([between, slow(), slow(), slow(), slow()])
  for (const one of all)
    assert.ok(one.status === 'rejected' && one.reason instanceof TransientError, String(one.status))
})

test('frozen: known within seconds, though nothing was asked; thawed, it is used again', async (t) => {
  const server = await PostgresServer.start(t)
  const run = running(t, server.url())
  await run.becomes('up')
  server.freeze()
  const asked = performance.now()
  await assert.rejects(run.postgres.query('SELECT 1', []), TransientError)
  assert.ok(performance.now() - asked < 30_000, 'PostgreSQL’s silence has an end')
  await run.becomes('down', /does not answer/)
  server.thaw()
  await run.becomes('up')
  assert.deepEqual(await run.postgres.query('SELECT 1 AS one', []), [{ one: 1 }])
})

test('a commit that waits for a standby that is away: weather, without piling up connections, and written in the end', async (t) => {
  const server = await PostgresServer.start(t)
  const run = running(t, server.url())
  await run.becomes('up')
  await run.postgres.query('CREATE TABLE said (n integer PRIMARY KEY)', [])
  await server.setSynchronous('*')
  const writes = [1, 2, 3, 4, 5].map((n) =>
    run.postgres.transaction((query) => query('INSERT INTO said VALUES ($1)', [n])),
  )
  const written = await Promise.allSettled(writes.slice(0, 3))
  for (const one of written) assert.ok(one.status === 'rejected' && one.reason instanceof TransientError)
  assert.equal(run.postgres.state.kind, 'up', 'the server is there')
  assert.equal((await server.connections()).length, 4, 'three that wait, and the one that listens')
  await server.setSynchronous('')
  const later = await Promise.allSettled(writes)
  assert.ok(
    later.slice(3).every(({ status }) => status === 'fulfilled'),
    'those that still waited for a connection',
  )
  const rows = await run.postgres.query<{ n: number }>('SELECT n FROM said ORDER BY n', [])
  assert.deepEqual(
    rows.map(({ n }) => n),
    [1, 2, 3, 4, 5],
  )
  assert.equal(run.ready, 1)
})

test('failed over: the standby is found as soon as it is promoted, and the old primary is refused when it comes back', async (t) => {
  const server = await PostgresServer.start(t)
  const standby = await server.standby(t)
  const run = running(t, server.url({ others: [standby] }))
  await run.becomes('up', new RegExp(`:${server.port} answers`))
  await server.kill()
  await run.becomes('down', new RegExp(`:${server.port} is not reached.*:${standby.port} is a standby`))
  await standby.promote()
  const promoted = performance.now()
  await run.becomes('up', new RegExp(`:${standby.port} answers`))
  t.diagnostic(`found ${Math.round(performance.now() - promoted)} ms after the promotion`)

  await standby.stop()
  await server.launch()
  await run.becomes('refused', new RegExp(`:${server.port} was the primary before another one was promoted: stop it`))
  await standby.launch()
  await run.becomes('up', new RegExp(`:${standby.port} answers`))
})

test('a host that is frozen holds nobody up who has another one', async (t) => {
  const [frozen, server] = await Promise.all([PostgresServer.start(t), PostgresServer.start(t)])
  frozen.freeze()
  const run = running(t, frozen.url({ others: [server] }))
  await waitUntil('it is up', () => run.postgres.state.kind === 'up', { timeoutMs: 3_000 })
  frozen.thaw()
})

test('read-only, and no longer', async (t) => {
  const server = await PostgresServer.start(t)
  const run = running(t, server.url())
  await run.becomes('up')
  await server.psql(`ALTER DATABASE ${DATABASE} SET default_transaction_read_only = on`)
  await server.psql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${USER}'`)
  await run.becomes('down', /is read-only: ALTER SYSTEM RESET default_transaction_read_only/)
  await server.psql(`ALTER DATABASE ${DATABASE} RESET default_transaction_read_only`)
  await run.becomes('up')
  await assert.rejects(
    run.postgres.transaction(async (query) => {
      await query('SET TRANSACTION READ ONLY', [])
      await query("INSERT INTO identity VALUES (2, 'x')", [])
    }),
    TransientError,
  )
  await waitUntil('all connections are made anew', () => run.ready === 3)
})

test('not let in: wrong password, user, database, rights; each is tried again and then works', async (t) => {
  const server = await PostgresServer.start(t)
  const wrong = running(t, server.url({ password: 'hunter2' }))
  await wrong.becomes('refused', /password is wrong \(.*\): correct it in shared-store/)
  const without = running(t, `postgres://${USER}@127.0.0.1:${server.port}/${DATABASE}`)
  await without.becomes('refused', /agree with us on the password/)
  const nobody = running(t, server.url({ user: 'nobody' }))
  await nobody.becomes('refused', /password/)
  const elsewhere = running(t, server.url({ database: 'bonds' }))
  await elsewhere.becomes('refused', /does not have this database/)
  await server.psql('CREATE DATABASE bonds OWNER postgres')
  await elsewhere.becomes(
    'refused',
    /does not let us do that \(permission denied for schema public\): make the user the owner/,
  )
  await server.psql(`ALTER DATABASE bonds OWNER TO ${USER}`)
  await elsewhere.becomes('up')
  await server.psql(`ALTER ROLE ${USER} PASSWORD 'hunter2'`)
  await wrong.becomes('up')
})

test('no connection left there: told, and waited for', async (t) => {
  const server = await PostgresServer.start(t, { settings: ['max_connections = 5'] })
  await server.psql(`ALTER ROLE ${USER} CONNECTION LIMIT 0`)
  const run = running(t, server.url())
  await run.becomes('down', /has no connection left .*: raise max_connections/)
  await server.psql(`ALTER ROLE ${USER} CONNECTION LIMIT -1`)
  await run.becomes('up')
})

test('TLS: verified by name and by who signed it, as asked for; encrypted for the asking; plain where there is none', async (t) => {
  const server = await PostgresServer.start(t, { tlsName: 'localhost' })
  const root = `sslrootcert=${encodeURIComponent(server.rootCertificate)}`
  const encrypted: [host: string, query: string][] = [
    ['localhost', `sslmode=verify-full&${root}`],
    ['127.0.0.1', `sslmode=verify-ca&${root}`],
    ['127.0.0.1', `sslmode=require&${root}`],
    ['127.0.0.1', 'sslmode=require'],
    ['127.0.0.1', ''],
  ]
  for (const [host, query] of encrypted) {
    const run = running(t, server.url({ host, query }))
    await run.becomes('up', /, with TLS$/)
    const used = await run.postgres.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()', [])
    assert.deepEqual(used, [{ ssl: true }], query)
    await run.stop()
  }
  const refused: [host: string, query: string, RegExp][] = [
    [
      '127.0.0.1',
      `sslmode=verify-full&${root}`,
      /certificate that is not to be trusted \(.*127\.0\.0\.1.*\): name who signed it/,
    ],
    ['localhost', 'sslmode=verify-full', /certificate that is not to be trusted/],
    ['127.0.0.1', 'sslmode=verify-ca', /certificate that is not to be trusted/],
    [
      'localhost',
      'sslmode=verify-full&sslrootcert=/nonexistent.crt',
      /\/nonexistent\.crt \(sslrootcert\) can't be read/,
    ],
  ]
  for (const [host, query, says] of refused) {
    const run = running(t, server.url({ host, query }))
    await run.becomes('refused', says)
    await run.stop()
  }
  await running(t, server.url({ query: 'sslmode=disable' })).becomes('up', /, without TLS$/)

  const plain = await PostgresServer.start(t)
  await running(t, plain.url()).becomes('up', /, without TLS$/)
  await running(t, plain.url({ query: 'sslmode=require' })).becomes('refused', /offers no TLS/)
})

test('a Unix socket', async (t) => {
  const server = await PostgresServer.start(t)
  const where = `?host=${server.socketDir}&port=${server.port}`
  const run = running(t, `postgres://${USER}:${encodeURIComponent(PASSWORD)}@/${DATABASE}${where}`)
  await run.becomes('up', /\.s\.PGSQL\.\d+ answers/)
})

test('somebody else at the port, who talks or is silent', async (t) => {
  const talker = createServer((socket) => socket.end('220 mail.example ESMTP\r\n'))
  const silent = createServer(() => {})
  for (const [far, says] of [
    [talker, /./],
    [silent, /does not answer/],
  ] as const) {
    far.listen(0, '127.0.0.1')
    await once(far, 'listening')
    t.after(() => far.close())
    const { port } = far.address() as { port: number }
    const run = running(t, `postgres://u:p@127.0.0.1:${port}/d`)
    await waitUntil(
      'it is told',
      () => /down|refused/.test(run.postgres.state.kind) && says.test(run.postgres.state.detail),
    )
    await run.stop()
  }
})

test('a newer schema, another network, another program: only these end the daemon', async (t) => {
  const server = await PostgresServer.start(t)
  const first = running(t, server.url())
  await first.becomes('up')
  await first.stop()
  await server.psql("UPDATE identity SET network = 'main'", DATABASE)
  await assert.rejects(running(t, server.url()).over, isConfigError(/about network main, and --network is regtest/))
  await server.psql("INSERT INTO schema_version VALUES (9999, 'later')", DATABASE)
  await assert.rejects(running(t, server.url()).over, isConfigError(/has schema 9999, this program knows \d+: upgrade/))
  await server.psql('DROP TABLE schema_version; CREATE TABLE schema_version (v text)', DATABASE)
  await assert.rejects(running(t, server.url()).over, isConfigError(/belongs to another program/))
})

test('many that start at once migrate once', async (t) => {
  const server = await PostgresServer.start(t)
  const runs = Array.from({ length: 6 }, () => running(t, server.url()))
  await Promise.all(runs.map((run) => run.becomes('up')))
  const [row] = await runs[0]!.postgres.query<{ n: number; newest: number }>(
    'SELECT count(*) AS n, max(version) AS newest FROM schema_version',
    [],
  )
  assert.ok(row && row.n > 0 && row.n === row.newest)
})

test('one connection that is ended by an administrator is replaced; a failed statement spoils none', async (t) => {
  const server = await PostgresServer.start(t)
  const run = running(t, server.url())
  await run.becomes('up')
  await assert.rejects(run.postgres.query('SELEKT 1', []), (error) => !(error instanceof TransientError))
  await assert.rejects(
    run.postgres.transaction(async (query) => {
      await query('CREATE TABLE half (n integer)', [])
      throw new Error('on purpose')
    }),
    /on purpose/,
  )
  assert.deepEqual(await run.postgres.query("SELECT to_regclass('half') AS half", []), [{ half: null }])
  await server.psql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${USER}' AND query NOT LIKE '%transaction_read_only%' AND query NOT LIKE 'LISTEN%'`,
  )
  await waitUntil('it can be asked', () => run.postgres.query('SELECT 1', []).catch(() => undefined))
  const many = await Promise.all(Array.from({ length: 50 }, (_, n) => run.postgres.query('SELECT $1::int AS n', [n])))
  assert.deepEqual(many.at(-1), [{ n: 49 }])
  assert.ok((await server.connections()).length <= 4)
})

test('told to stop while it dials: it is home at once', async (t) => {
  const server = await PostgresServer.start(t)
  server.freeze()
  const run = running(t, server.url())
  const asked = performance.now()
  await run.stop()
  assert.ok(performance.now() - asked < 3_500, 'before a dial is given up')
  server.thaw()
})

function isConfigError(says: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConfigError, String(error))
    assert.match(error.message, says)
    return true
  }
}

/** Doctor on the shared database: every way in which it can be away, closed, another's or not lasting, met on a real PostgreSQL. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { freePorts } from '../sandbox/ports.ts'
import { DATABASE, PASSWORD, PostgresServer, USER } from '../sandbox/postgres.ts'
import { assertFinding, type Diagnosis, doctor } from '../support/doctor.ts'
import { tempDir } from '../support/temp-dir.ts'

/** What it says of a shared store; that no bitcoind is there is not the question. */
async function ask(url: string | undefined, env: NodeJS.ProcessEnv = {}): Promise<Diagnosis> {
  using dir = tempDir()
  const [port, rpc] = await freePorts(2)
  const args = ['--network', 'regtest', '--no-tor', '--datadir', dir.path, '--address', `127.0.0.1:${port}`]
  const diagnosis = await doctor([...args, '--rpc', `127.0.0.1:${rpc}`], {
    env: { ...env, ...(url !== undefined && { FIDELITY_TRACKER_SHARED_STORE: url }) },
  })
  assert.doesNotMatch(JSON.stringify(diagnosis.findings), /hunter2/)
  assert.ok(!JSON.stringify(diagnosis.findings).includes(PASSWORD))
  return diagnosis
}

/** As after a tracker's first start. */
async function migrated(server: PostgresServer, rows: string): Promise<void> {
  await server.psql(
    `SET ROLE ${USER};
    CREATE TABLE schema_version (version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz DEFAULT now());
    CREATE TABLE identity (id int PRIMARY KEY, network text NOT NULL, made_at timestamptz DEFAULT now()); ${rows}`,
    DATABASE,
  )
}

test('nothing is said where nothing is shared; all is well with an empty database', async (t) => {
  const none = await ask(undefined)
  assert.deepEqual(
    none.findings.filter(({ check }) => check.startsWith('postgres')),
    [],
  )
  const server = await PostgresServer.start(t)
  const { findings, of } = await ask(server.url())
  assertFinding(of('postgres'), 'ok', /^the primary at 127\.0\.0\.1:\d+ answers \(version \d+\.\d+\)$/)
  assertFinding(of('postgres-tls'), 'ok', /on this machine/)
  assertFinding(of('postgres-rights'), 'ok', /tracker may do all that is needed in market/)
  assertFinding(of('postgres-schema'), 'ok', /no tables yet: they are made at the first start/)
  assertFinding(of('postgres-connections'), 'ok', /\d+ of 100 connections are free; a tracker takes 5/)
  assertFinding(of('postgres-durability'), 'ok', /no standby follows/)
  assertFinding(of('postgres-clock'), 'ok', /its clock is 0\.\d s/)
  assert.equal(findings.filter(({ check }) => check === 'postgres').length, 1)
})

test('away, frozen, and not letting us in', async (t) => {
  const server = await PostgresServer.start(t)
  const expect = async (url: string, says: RegExp, fix: RegExp) =>
    assert.match(assertFinding((await ask(url)).of('postgres'), 'failure', says), fix)
  await expect(
    server.url({ password: 'hunter2' }),
    /password is wrong/,
    /sudo -u postgres psql -c '\\password tracker'/,
  )
  await expect(server.url({ database: 'bonds' }), /does not have this database/, /createdb -O tracker bonds/)
  await expect(server.url({ query: 'sslmode=verify-full' }), /offers no TLS/, /ssl = on/)
  server.freeze()
  await expect(server.url(), /does not answer/, /frozen/)
  server.thaw()
  await server.set('default_transaction_read_only', 'on')
  await expect(server.url(), /is read-only/, /ALTER SYSTEM RESET default_transaction_read_only/)
  await server.stop()
  await expect(server.url(), /is not reached .*ECONNREFUSED/, /sudo systemctl start postgresql/)
  const named = server.url({ host: 'no-such-host.invalid' })
  await expect(named, /is not reached/, /correct the host and port in shared-store/)
})

test('TLS that is verified, that is not, and that can not be', async (t) => {
  const server = await PostgresServer.start(t, { tlsName: 'localhost' })
  const root = `sslrootcert=${server.rootCertificate}`
  const by = async (host: string, query: string) => (await ask(server.url({ host, query }))).of('postgres-tls')
  assertFinding(await by('localhost', `sslmode=verify-full&${root}`), 'ok', /certificate and name verified/)
  assertFinding(await by('localhost', `sslmode=verify-ca&${root}`), 'ok', /verified, whatever name/)
  assertFinding(await by('localhost', 'sslmode=require'), 'ok', /not verified; it is on this machine/)
  const wrong = await ask(server.url({ host: '127.0.0.1', query: `sslmode=verify-full&${root}` }))
  assert.match(assertFinding(wrong.of('postgres'), 'failure', /not to be trusted/), /sslrootcert/)
})

test('a database that is older, newer, about another network, or not ours', async (t) => {
  const server = await PostgresServer.start(t)
  await migrated(server, "INSERT INTO schema_version VALUES (1, 'x'); INSERT INTO identity VALUES (1, 'signet')")
  const first = await ask(server.url())
  assertFinding(first.of('postgres-schema'), 'ok', /has schema 1/)
  const fix = assertFinding(first.of('postgres-network'), 'failure', /about network signet, but --network is regtest/)
  assert.match(fix, /--network signet/)
  await server.psql("UPDATE identity SET network = 'regtest'", DATABASE)
  assertFinding((await ask(server.url())).of('postgres-network'), 'ok', /is for regtest/)

  await server.psql("INSERT INTO schema_version VALUES (9999, 'x')", DATABASE)
  const newer = (await ask(server.url())).of('postgres-schema')
  assert.match(assertFinding(newer, 'failure', /has schema 9999, this program knows/), /^upgrade fidelity-tracker/)
  await server.psql('DROP TABLE schema_version; CREATE TABLE schema_version (v int)', DATABASE)
  const another = await ask(server.url())
  assert.match(assertFinding(another.of('postgres-rights'), 'failure', /somebody else's: schema_version/), /OWNER TO/)
  assert.match(assertFinding(another.of('postgres-schema'), 'failure', /another program/), /createdb/)
})

test('rights that are missing, and the advice that gives them', async (t) => {
  const server = await PostgresServer.start(t)
  await server.psql('CREATE DATABASE bonds')
  const url = server.url({ database: 'bonds' })
  const fix = assertFinding(
    (await ask(url)).of('postgres-rights'),
    'failure',
    /may not make tables in the schema public/,
  )
  const statement = /psql -c '(.*)'$/.exec(fix)?.[1]
  assert.ok(statement, fix)
  await server.psql(statement)
  assertFinding((await ask(url)).of('postgres-rights'), 'ok', /all that is needed/)
})

test('several hosts: a standby, one that is away, and only standbys; what a failover loses', async (t) => {
  const server = await PostgresServer.start(t)
  const standby = await server.standby(t)
  const url = server.url({ others: [standby] })
  const both = await ask(url)
  const hosts = both.findings.filter(({ check }) => check === 'postgres')
  assertFinding(hosts[0]!, 'ok', /^the primary at/)
  assertFinding(hosts[1]!, 'ok', /^a standby at/)
  assertFinding(both.of('postgres-durability'), 'ok', /a failover may lose the last registrations/)
  await server.setSynchronous('*')
  assertFinding((await ask(url)).of('postgres-durability'), 'ok', /a failover loses nothing/)

  await standby.stop()
  const away = (await ask(url)).findings.filter(({ check }) => check === 'postgres')
  assertFinding(away[1]!, 'warning', /is not reached/)
  await standby.launch()
  await server.stop()
  const none = (await ask(url)).findings.filter(({ check }) => check === 'postgres')
  assertFinding(none[0]!, 'failure', /is not reached/)
  assert.match(assertFinding(none[1]!, 'failure', /is a standby/), /pg_promote/)
})

test('few connections left, fsync off, and a clock that is wrong', async (t) => {
  const server = await PostgresServer.start(t, { settings: ['max_connections = 8', 'fsync = off'] })
  const { of } = await ask(server.url(), wrongClock(t))
  assert.match(
    assertFinding(of('postgres-connections'), 'warning', /^\d of 8 connections are free/),
    /max_connections = 16/,
  )
  assert.match(assertFinding(of('postgres-durability'), 'failure', /fsync is off/), /ALTER SYSTEM RESET fsync/)
  assert.match(assertFinding(of('postgres-clock'), 'warning', /is 6\d\.\d s behind ours/), /timedatectl/)
})

/** A minute ahead, for the process that gets this environment. */
function wrongClock(t: TestContext): NodeJS.ProcessEnv {
  const library = process.env.FAKETIME_LIBRARY
  assert.ok(library, `${t.name}: FAKETIME_LIBRARY is set by scripts/test.sh`)
  return { LD_PRELOAD: library, FAKETIME: '+60s', FAKETIME_DONT_FAKE_MONOTONIC: '1' }
}

/** PostgreSQL's address: what of libpq's notation is understood, what is refused, and that no refusal shows the password. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../../src/errors.ts'
import { formatPostgresAddress, parsePostgresAddress } from '../../../src/store/shared/postgres/address.ts'

function refusal(text: string): string {
  try {
    parsePostgresAddress(text)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message
  }
  assert.fail(`taken: ${text}`)
}

test('several hosts, each with its port or the usual one', () => {
  const { hosts } = parsePostgresAddress('postgres://u:p@db1:6432,db2,[::1]:1,[fe80::1],10.0.0.1/market')
  assert.deepEqual(hosts, [
    { host: 'db1', port: 6432 },
    { host: 'db2', port: 5432 },
    { host: '::1', port: 1 },
    { host: 'fe80::1', port: 5432 },
    { host: '10.0.0.1', port: 5432 },
  ])
  assert.deepEqual(parsePostgresAddress('postgresql://u@/d?host=a,b&port=1,2').hosts, [
    { host: 'a', port: 1 },
    { host: 'b', port: 2 },
  ])
})

test('the folder of a Unix socket, as a parameter or in the place of the host', () => {
  const socket = [{ host: '/var/run/postgresql', port: 5432 }]
  assert.deepEqual(parsePostgresAddress('postgres://u@/market?host=/var/run/postgresql').hosts, socket)
  assert.deepEqual(parsePostgresAddress('postgres://u@%2Fvar%2Frun%2Fpostgresql/market').hosts, socket)
})

test('what is written with % is meant as the sign it stands for', () => {
  const address = parsePostgresAddress('postgres://us%40er:p%40ss%3Aw%2F%C3%B6%25rd@h/the%20market')
  assert.equal(address.user, 'us@er')
  assert.equal(address.password?.reveal(), 'p@ss:w/ö%rd')
  assert.equal(address.database, 'the market')
  assert.equal(
    parsePostgresAddress('postgres://u:p@ss:word@h/d').password?.reveal(),
    'p@ss:word',
    'as far as it is clear',
  )
})

test('what is left out: no password, the database of the user, TLS where there is some', () => {
  const { password, database, sslmode, sslrootcert } = parsePostgresAddress('postgres://u@h')
  assert.deepEqual(
    { password, database, sslmode, sslrootcert },
    {
      password: undefined,
      database: 'u',
      sslmode: 'prefer',
      sslrootcert: undefined,
    },
  )
  const given = parsePostgresAddress(
    'postgres://u@h/d?sslmode=verify-full&sslrootcert=/etc/my%20ca.crt&target_session_attrs=read-write',
  )
  assert.equal(given.sslmode, 'verify-full')
  assert.equal(given.sslrootcert, '/etc/my ca.crt')
})

test('the form for people has everything but the password', () => {
  const address = parsePostgresAddress('postgres://u%40x:hunter2@db1,[::1]:6432/d?sslmode=require')
  assert.equal(formatPostgresAddress(address), 'postgres://u%40x@db1:5432,[::1]:6432/d')
  assert.doesNotMatch(JSON.stringify(address), /hunter2/)
})

test('whatever is wrong is named, with what to write instead, and without the password', () => {
  const refused: [string, RegExp][] = [
    ['', /^expected postgres:\/\//],
    ['hunter2', /^expected postgres:\/\//],
    ['mysql://u:hunter2@h/d', /^expected postgres:\/\//],
    ['postgres://h/d', /^no user is named/],
    ['postgres://:hunter2@h/d', /^no user is named/],
    ['postgres://u:hunter2@/d', /^no host is named.*\?host=\/var\/run\/postgresql/],
    ['postgres://u:hunter2@h:0/d', /^a port is not understood/],
    ['postgres://u:hunter2@h:70000/d', /^a port is not understood/],
    ['postgres://u:hunter2@a,,b/d', /^a host is not understood/],
    ['postgres://u:hunter2@::1/d', /an IPv6 address stands in brackets/],
    ['postgres://u:hunter2/x@h/d', /%2F/],
    ['postgres://u:hunter2?x@h/d', /%3F/],
    ['postgres://u:hunter2@h/d?hunter2?=x', /^what stands behind the question mark is no parameter/],
    ['postgres://u:hunter2%@h/d', /^the password holds a % that begins no code: write it as %25$/],
    ['postgres://u:hunter2@h/d/e', /slash/],
    ['postgres://u:hunter2@h/d?sslmode=yes', /^sslmode is none of disable, prefer, require, verify-ca, verify-full$/],
    ['postgres://u:hunter2@h/d?sslmode=require&sslmode=disable', /^sslmode is given twice$/],
    ['postgres://u:hunter2@h/d?sslrootcert=root.crt', /absolute path/],
    ['postgres://u:hunter2@h/d?sslcert=/x', /^sslcert is no parameter here; known are host, port, sslmode/],
    ['postgres://u:hunter2@h/d?password=hunter2', /^password is no parameter here/],
    ['postgres://u:hunter2@h/d?target_session_attrs=any', /^target_session_attrs can only be/],
    ['postgres://u:hunter2@h/d?host=/var/run', /^hosts are named twice/],
    ['postgres://u:hunter2@h/d?port=1', /write host:port/],
    ['postgres://u:hunter2@/d?host=a,b,c&port=1,2', /^give one port, or one for each host/],
  ]
  for (const [text, says] of refused) {
    const message = refusal(text)
    assert.match(message, says, text)
    assert.doesNotMatch(message, /hunter2/, text)
  }
})

/** What PostgreSQL says, by fate. Method: errors as pg gives them, by their codes and messages; the real ones are met in integration. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TransientError } from '../../../src/errors.ts'
import { judgePostgres, PostgresTrouble } from '../../../src/store/shared/postgres/errors.ts'

const WHERE = 'db1:5432'
const said = (code: string, severity = 'ERROR') => Object.assign(new Error(`says ${code}`), { code, severity })

test('what somebody has to change there is refused, what goes by itself is down or passing; each with advice', () => {
  const expected: [string, PostgresTrouble['kind'], RegExp][] = [
    ['08006', 'down', /connection is lost/],
    ['25006', 'down', /read-only.*let it be a primary/],
    ['25P03', 'down', /transaction that took too long/],
    ['28000', 'refused', /pg_hba\.conf/],
    ['28P01', 'refused', /password is wrong.*correct it in shared-store/],
    ['3D000', 'refused', /this database.*createdb/],
    ['3F000', 'refused', /CREATE SCHEMA/],
    ['40001', 'passing', /tried again/],
    ['40P01', 'passing', /tried again/],
    ['42501', 'refused', /owner of the database/],
    ['53100', 'passing', /make room on the disk/],
    ['53200', 'passing', /lacks resources/],
    ['53300', 'down', /max_connections/],
    ['55P03', 'passing', /lock/],
    ['57014', 'passing', /took too long/],
    ['57P01', 'down', /ended the connection/],
    ['57P03', 'down', /starting up/],
    ['58030', 'passing', /log/],
    ['XX001', 'passing', /log/],
  ]
  for (const [code, kind, says] of expected) {
    const judged = judgePostgres(said(code), WHERE)
    assert.ok(judged instanceof PostgresTrouble && judged instanceof TransientError, code)
    assert.equal(judged.kind, kind, code)
    assert.match(judged.message, says, code)
    assert.match(judged.message, /^PostgreSQL at db1:5432 .*says /, code)
  }
})

test('a statement that can not be right is ours', () => {
  for (const code of ['42601', '42P01', '42703', '23505', '23514', '22P02', '22023', '0A000']) {
    const error = said(code)
    assert.equal(judgePostgres(error, WHERE), error, code)
  }
  const bug = new TypeError('x is undefined')
  assert.equal(judgePostgres(bug, WHERE), bug)
})

test('what ends the connection is weather, whatever its code', () => {
  const judged = judgePostgres(said('22023', 'FATAL'), WHERE)
  assert.ok(judged instanceof PostgresTrouble && judged.kind === 'down')
})

test('the way to it: away, frozen, cut, without TLS, or somebody else', () => {
  const system = (code: string) => Object.assign(new Error(`connect ${code}`), { code, syscall: 'connect' })
  const tls = (code: string) => Object.assign(new Error('a certificate'), { code })
  const expected: [Error, PostgresTrouble['kind'], RegExp][] = [
    [system('ECONNREFUSED'), 'down', /not reached.*start it/],
    [system('ENOTFOUND'), 'down', /correct the host/],
    [system('ENOENT'), 'down', /not reached/],
    [new Error('timeout expired'), 'down', /frozen/],
    [new Error('Connection terminated unexpectedly'), 'down', /dialled again/],
    [new Error('Client has encountered a connection error and is not queryable'), 'down', /dialled again/],
    [new Error('The server does not support SSL connections'), 'refused', /offers no TLS.*ssl = on/],
    [tls('ERR_TLS_CERT_ALTNAME_INVALID'), 'refused', /sslrootcert/],
    [tls('SELF_SIGNED_CERT_IN_CHAIN'), 'refused', /sslrootcert/],
    [tls('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'refused', /sslrootcert/],
    [tls('CERT_HAS_EXPIRED'), 'refused', /sslrootcert/],
    [new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string'), 'refused', /password/],
  ]
  for (const [error, kind, says] of expected) {
    const judged = judgePostgres(error, WHERE)
    assert.ok(judged instanceof PostgresTrouble, error.message)
    assert.equal(judged.kind, kind, error.message)
    assert.match(judged.message, says)
    assert.equal(judged.isLate, false)
  }
})

test('an answer that is late may still come: only the statement is given up', () => {
  const judged = judgePostgres(new Error('Query read timeout'), WHERE)
  assert.ok(judged instanceof PostgresTrouble && judged.kind === 'passing' && judged.isLate)
})

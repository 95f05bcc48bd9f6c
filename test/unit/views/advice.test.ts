/** What a running daemon says is to be done: once for each cause, in doctor's words, and nothing where waiting is enough. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adviceOn } from '../../../src/views/advice.ts'
import type { StatusRow } from '../../../src/views/schemas/status.ts'

type Told = Parameters<typeof adviceOn>[0]
const CONFIG = {
  rpc: { host: '127.0.0.1', port: 8332, auth: { kind: 'cookie', file: '/x/.cookie' } },
  tor: { kind: 'control', control: { host: '127.0.0.1', port: 9051 } },
} as Parameters<typeof adviceOn>[1]

const ok = { ok: true, detail: 'ok' }
const not = (detail: string) => ({ ok: false, detail })
const WELL: Told = {
  checks: { database: ok, bitcoind: ok, sync: ok, tor: ok, onion: ok },
  network: 'main',
  unseen: null,
  bitcoind: { state: 'following', detail: 'ok', warnings: [], best_height: 9, best_hash: null, blocks_by: null },
  onion: { state: 'published', detail: 'uploaded', address: 'x.onion:8080', tor_version: '0.4.9.1', canary: null },
}
const told = (change: {
  checks?: Partial<StatusRow['checks']>
  bitcoind?: Partial<StatusRow['bitcoind']>
  onion?: Partial<StatusRow['onion']>
  unseen?: StatusRow['unseen']
}) => {
  const [bitcoind, onion] = [
    { ...WELL.bitcoind, ...change.bitcoind },
    { ...WELL.onion, ...change.onion },
  ]
  const checks = { ...WELL.checks, ...change.checks }
  return adviceOn({ ...WELL, bitcoind, onion, checks, unseen: change.unseen ?? null }, CONFIG).map(
    ({ check, text, fix }) => `${check}: ${text} → ${fix}`,
  )
}

test('where all is well, or comes by itself, there is nothing to do', () => {
  assert.deepEqual(told({}), [])
  const late = not('scanned 5 of 9')
  assert.deepEqual(told({ checks: { sync: late } }), [], 'a scan')
  assert.deepEqual(told({ checks: { bitcoind: not('x'), sync: late }, bitcoind: { state: 'connecting' } }), [])
  assert.deepEqual(told({ checks: { tor: not('x'), onion: not('x') }, onion: { state: 'starting' } }), [])
  assert.deepEqual(told({ checks: { onion: not('uploading') }, onion: { state: 'publishing' } }), [])
  assert.deepEqual(told({ checks: { shared_store: not('read once synced') } }), [])
})

test('what is away is told once, by where it was looked for, with what to type', () => {
  const detail = 'bitcoind at 127.0.0.1:8332 (--rpc) does not answer getblockchaininfo: connect ECONNREFUSED'
  assert.deepEqual(
    told({
      checks: { bitcoind: not(detail), sync: not('bitcoind has not answered for 9 minutes') },
      bitcoind: { state: 'unreachable', detail },
    }),
    [
      'bitcoind: nothing answers at 127.0.0.1:8332 (--rpc), where bitcoind should be → sudo systemctl start bitcoind, or give --rpc <host:port> of the running one',
    ],
  )
  const refused = '127.0.0.1:9051 is not reachable (is Tor running?): connect ECONNREFUSED 127.0.0.1:9051'
  const away = told({
    checks: { tor: not(refused), onion: not(refused) },
    onion: { state: 'unreachable', detail: refused },
  })
  assert.equal(away.length, 1)
  assert.match(away[0]!, /^tor: nothing answers at 127\.0\.0\.1:9051 \(--control-port\).* → sudo systemctl start tor;/)
})

test('what is there and not well is told in its own words', () => {
  const cookie = 'bitcoind at 127.0.0.1:8332 (--rpc) refuses the cookie in /x/.cookie'
  const [refused] = told({ checks: { bitcoind: not(cookie) }, bitcoind: { state: 'unreachable', detail: cookie } })
  assert.match(
    refused!,
    /^bitcoind: .* refuses the cookie .* → give --cookie-file .*; \/x\/\.cookie is of another one$/,
  )
  const canary = { state: 'red', detail: 'silent', last_green: null } as const
  const [red] = told({ checks: { onion: not('silent') }, onion: { canary } })
  assert.match(red!, /^onion: published, but not reached through Tor \(canary\): silent → sudo journalctl -u tor/)
  const [partial] = told({ unseen: { from: 5, to: 7 } })
  assert.match(partial!, /^sync: blocks 5 to 7 were never read.* → prune=60000 .* -reindex/)
  const [old] = told({ bitcoind: { warnings: ["bitcoind's newest block is 5 hours old"] } })
  assert.match(old!, /^bitcoind: bitcoind's newest block is 5 hours old → if that lasts: bitcoin-cli getpeerinfo/)
})

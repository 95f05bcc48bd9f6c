import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spaceFinding } from '../../../src/doctor/data-dir.ts'
import { broken, doctorExitCode, well, worth } from '../../../src/doctor/finding.ts'
import { clockFinding, nodeFinding } from '../../../src/doctor/host.ts'
import { relayFindings } from '../../../src/doctor/relays.ts'
import { sharedAddressFinding } from '../../../src/doctor/shared-address.ts'
import { bootstrapFinding, clockFindings, powFinding } from '../../../src/doctor/tor.ts'
import { torrcFindings } from '../../../src/doctor/torrc.ts'

import { aRelay } from '../../support/relays.ts'

const NOW_S = 1_800_000_000

test('how far Tor is, in its own words; a stranger’s are cut', () => {
  const said = (phase: string) => bootstrapFinding('0.4.9.11', phase)
  assert.equal(said('NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"').level, 'ok')
  const { text } = said(
    'WARN BOOTSTRAP PROGRESS=10 TAG=conn_done SUMMARY="Connected to a relay" WARNING="Clock skew \\"7200\\" in NETINFO" REASON=x',
  )
  assert.match(text, /^Tor 0\.4\.9\.11 is not connected yet: 10 %, Connected to a relay \(Clock skew .*NETINFO\)$/)
  assert.match(said('whatever').text, /not connected yet: 0 %, unknown$/)
  assert.ok(said(`PROGRESS=5 SUMMARY="\u001b[2J${'x'.repeat(9_000)}"`).text.length < 300)
})

test('our clock beside that of Tor’s network', () => {
  const at = (now: string) => clockFindings('2026-11-27 02:00:00', '2026-11-27 05:00:00', Date.parse(`${now}Z`))
  for (const now of ['2026-11-27T01:52', '2026-11-27T02:00', '2026-11-27T04:59', '2026-11-27T05:09']) {
    assert.deepEqual(at(now), [], now)
  }
  assert.match(at('2026-11-27T01:00')[0]!.text, /the clock of this machine is about 60 minutes off: it is behind/)
  assert.match(at('2026-11-27T07:00')[0]!.text, /about 120 minutes off: it is ahead of .*, or Tor has not heard/)
  for (const unknown of [undefined, '', 'yesterday']) assert.deepEqual(clockFindings(unknown, unknown, 0), [])
})

test('the exit code is that of the worst finding', () => {
  assert.equal(doctorExitCode([well('a', '')]), 0)
  assert.equal(doctorExitCode([well('a', ''), worth('b', '', 'x')]), 1)
  assert.equal(doctorExitCode([broken('c', '', 'x'), worth('b', '', 'x'), well('a', '')]), 2)
})

test('an address that several share: without a copy of its key this tracker would make another one', () => {
  const keyFile = '/var/lib/fidelity-tracker/onion.key'
  assert.equal(sharedAddressFinding('x.onion:8080', keyFile).level, 'ok')
  const { level, fix } = sharedAddressFinding(undefined, keyFile)
  assert.equal(level, 'warning')
  assert.match(fix!, /chmod 600 \/var\/lib\/fidelity-tracker\/onion\.key/)
})

test('Node 22 is worth a look, 24 and later is well', () => {
  assert.equal(nodeFinding('22.14.0').level, 'warning')
  assert.equal(nodeFinding('24.0.0').level, 'ok')
  assert.equal(nodeFinding('26.1.0').level, 'ok')
})

test('a clock is behind as soon as the median time is ahead of it; an old tip is worth a look, but not on regtest', () => {
  assert.equal(clockFinding(NOW_S, NOW_S - 3_600, NOW_S - 60, 'main').level, 'ok')
  assert.equal(clockFinding(NOW_S, NOW_S + 1, NOW_S + 3_600, 'main').level, 'failure')
  assert.equal(clockFinding(NOW_S, NOW_S + 7_200, NOW_S, 'regtest').level, 'ok')
  assert.equal(clockFinding(NOW_S, NOW_S + 7_201, NOW_S, 'regtest').level, 'failure')
  assert.equal(clockFinding(NOW_S, NOW_S - 90_000, NOW_S - 86_400, 'main').level, 'warning')
  assert.match(clockFinding(NOW_S, NOW_S - 90_000, NOW_S - 86_400, 'main').text, /is 24 h old/)
  assert.equal(clockFinding(NOW_S, NOW_S - 90_000, NOW_S - 86_400, 'regtest').level, 'ok')
})

test('space: what is needed, and what nothing works without', () => {
  assert.equal(spaceFinding('/d', 1e9, 5e8).level, 'ok')
  assert.equal(spaceFinding('/d', 4e8, 5e8).level, 'warning')
  assert.equal(spaceFinding('/d', 99e6, 0).level, 'failure')
})

test('proof of work came to services added over the control port with Tor 0.4.9.2', () => {
  for (const version of ['0.4.7.16', '0.4.8.13', '0.4.9.1-alpha'])
    assert.equal(powFinding(version).level, 'warning', version)
  for (const version of ['0.4.9.2-alpha', '0.4.9.11', '0.5.0.1', '1.0.0'])
    assert.equal(powFinding(version).level, 'ok', version)
})

test('a service in torrc: its streams are bounded, and circuits named exactly where that is expected', () => {
  const torrc = (...lines: string[]) =>
    ['ControlPort 9051', 'HiddenServiceDir /other', 'HiddenServiceMaxStreams 16', 'HiddenServiceDir "/var/lib/tor/ft/"']
      .concat('HiddenServicePort 8080 127.0.0.1:8080', lines)
      .join('\n')
  const look = (text: string | undefined, circuitIds = false) =>
    torrcFindings(text, '/var/lib/tor/ft/hostname', circuitIds, undefined)[0]?.level
  const bounded = ['HiddenServiceMaxStreams 16', 'HiddenServiceMaxStreamsCloseCircuit 1']
  assert.equal(look(torrc(...bounded)), 'ok')
  assert.equal(look(torrc()), 'warning', 'those of another service are not ours')
  assert.equal(look(torrc('#HiddenServiceMaxStreams 16')), 'warning')
  assert.equal(look(torrc(...bounded), true), 'failure')
  assert.equal(look(torrc(...bounded, '  hiddenserviceexportcircuitid haproxy')), 'failure')
  assert.equal(look(torrc(...bounded, 'HiddenServiceExportCircuitID haproxy'), true), 'ok')
  assert.equal(look('HiddenServiceDir /elsewhere'), undefined)
  assert.equal(look(undefined), undefined)
})

test('a service in torrc: its port 80 leads to where the Nostr relay listens', () => {
  const look = (lines: string, listen = { host: '0.0.0.0', port: 8082 }) => {
    const torrc = `HiddenServiceDir /other\nHiddenServicePort 80 127.0.0.1:8082\nHiddenServiceDir /ft\nHiddenServicePort 8080\n${lines}`
    return torrcFindings(torrc, '/ft/hostname', false, listen).find(({ check }) => check === 'tor-nostr')
  }
  for (const right of ['HiddenServicePort 80 127.0.0.1:8082', '  hiddenserviceport 80  8082 # Nostr']) {
    assert.equal(look(right)?.level, 'ok', right)
  }
  for (const wrong of ['', '#HiddenServicePort 80 127.0.0.1:8082', 'HiddenServicePort 8000 127.0.0.1:8082']) {
    const { level, text, fix } = look(wrong)!
    assert.equal(level, 'warning', wrong)
    assert.match(text, /has no port 80/)
    assert.match(fix!, /^HiddenServicePort 80 127\.0\.0\.1:8082 /)
  }
  assert.match(look('HiddenServicePort 80 127.0.0.1:8081')!.text, /leads port 80 to 127\.0\.0\.1:8081/)
  assert.deepEqual(torrcFindings('HiddenServiceDir /x', '/ft/hostname', false, { host: '127.0.0.1', port: 1 }), [])
})

test('relays: what the running daemon says of each, and what to do', async () => {
  const clock = { nowMs: () => 0, monotonicMs: () => 0 }
  const rows = [
    aRelay({ url: 'ws://well.example' }),
    aRelay({ url: 'ws://new.example', state: 'reading', counts: undefined }),
    aRelay({ url: 'ws://away.example', failures: 2, failure: 'it says that it has moved to ws://b.example' }),
    aRelay({
      url: 'ws://strict.example',
      mending: {
        counts: { accepted: 0, duplicate: 0, refused: 1, silent: 0, unserved: 0 },
        pause: { why: 'blocked: no', untilS: 9 },
      },
    }),
  ]
  const urls = rows.map(({ url }) => url)
  const findings = await relayFindings({ urls, socks: undefined, publish: true, rows }, clock)
  assert.deepEqual(
    findings.map(({ check, level }) => [check, level]),
    [
      ['relay', 'ok'],
      ['relay', 'ok'],
      ['relay', 'warning'],
      ['relay', 'warning'],
      ['nostr-publish', 'ok'],
    ],
  )
  const [well, , away, strict, publish] = findings
  assert.equal(well!.text, 'ws://well.example is read: 3 bonds announced, 0 missing')
  assert.equal(away!.fix, 'name the new address in --nostr-relays')
  assert.match(strict!.text, /does not take what is missing there: blocked: no$/)
  assert.match(publish!.text, /announced there, under the key of this tracker/)
  assert.deepEqual(await relayFindings({ urls: [], socks: undefined, publish: false, rows: [] }, clock), [])
})

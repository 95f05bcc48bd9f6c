/** `print-torrc --onionbalance`: its commands do what they say when they are typed. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isOnionHost } from '../../../src/tor/address.ts'
import { frontIn } from '../../../src/tor/back-end.ts'
import { balanceSetup } from '../../../src/tor/balance-text.ts'
import { TORRC_DEFAULTS } from '../../../src/tor/torrc.ts'
import { onionHost } from '../../support/onions.ts'
import { tempDir } from '../../support/temp-dir.ts'

const service = { ...TORRC_DEFAULTS, dir: '/var/lib/tor/fidelity-tracker' }

test('the script, typed as it is: a key, its address, the folder, torrc, the balancer’s configuration', () => {
  using root = tempDir()
  const front = onionHost('front')
  const bin = join(root.path, 'bin')
  mkdirSync(bin)
  // Everything but the system's own state is real: packages, services and owners are left alone, paths are the test's.
  const stubs = { sudo: 'exec "$@"', apt: '', chown: '', systemctl: '', 'fidelity-tracker': 'echo "$@"' }
  const install = 'for last; do :; done; exec mkdir -p -m 750 "$last"'
  for (const [name, does] of Object.entries({ ...stubs, install })) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${does}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const etc = join(root.path, 'etc/onionbalance')
  mkdirSync(etc, { recursive: true })
  mkdirSync(join(root.path, 'etc/tor'))
  const text = balanceSetup({ ...TORRC_DEFAULTS, publicOnion: front, service })
    .replaceAll('/etc/', `${root.path}/etc/`)
    .replaceAll('/var/lib/tor', `${root.path}/tor`)
    .replace(/^sudo cat .*$/m, '')
  const out = execFileSync('sh', ['-eu', '-c', text], {
    encoding: 'utf8',
    env: { PATH: `${bin}:${process.env.PATH}` },
  })
  const address = out.split('\n').find((line) => /^[a-z2-7]{56}\.onion$/.test(line))
  assert.ok(address !== undefined && isOnionHost(address), out)
  assert.match(readFileSync(join(etc, 'front.key'), 'utf8'), /^-----BEGIN PRIVATE KEY-----/)
  assert.match(out, new RegExp(`start --public-onion ${front} --onion-hostname-file `))
  assert.equal(frontIn(readFileSync(join(root.path, 'tor/fidelity-tracker/ob_config'), 'utf8')), front)
  const torrc = readFileSync(join(root.path, 'etc/tor/torrc'), 'utf8')
  assert.match(torrc, /^ControlPort 127\.0\.0\.1:9051$/m)
  assert.doesNotMatch(torrc, /^HiddenService/m)
  assert.match(
    readFileSync(join(etc, 'config.yaml'), 'utf8'),
    /^services:\n- key: front\.key\n {2}instances:\n {2}- address: /,
  )
})

test('without a public address it says how to come by one', () => {
  const text = balanceSetup({ ...TORRC_DEFAULTS, publicOnion: undefined, service })
  assert.match(text, /print-torrc --onionbalance --public-onion <that address>/)
  assert.match(text, /^# {3}HiddenServiceOnionBalanceInstance 1$/m)
  assert.match(text, /MasterOnionAddress PUBLIC\.onion/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backEndFindings } from '../../../src/doctor/back-end.ts'
import { frontIn } from '../../../src/tor/back-end.ts'
import { onionHost } from '../../support/onions.ts'

const front = onionHost('front')

test('a service that was left in torrc is told of; another folder’s is not ours', () => {
  const examined = { hostnameFile: '/nowhere/service/hostname', publicOnion: front }
  const checks = (torrc: string | undefined) => backEndFindings(examined, torrc).map(({ check }) => check)
  for (const line of ['HiddenServiceDir /nowhere/service/', ' hiddenservicedir "/nowhere/service"']) {
    assert.ok(checks(`SocksPort 9050\n${line}\n`).includes('tor-back-end'), line)
  }
  for (const torrc of [undefined, '#HiddenServiceDir /nowhere/service/', 'HiddenServiceDir /nowhere/service2/']) {
    assert.ok(!checks(torrc).includes('tor-back-end'), torrc)
  }
})

test('the public address in ob_config, as Tor reads it', () => {
  assert.equal(frontIn(`# ours\n masteronionaddress ${front.toUpperCase()}\n`), front)
  assert.equal(frontIn(`#MasterOnionAddress ${front}\n`), undefined)
  assert.equal(frontIn(''), undefined)
})

/** `print-torrc`: the lines are about the files and ports that the settings name. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TORRC_DEFAULTS, torrcFor } from '../../../src/tor/torrc.ts'

test('a service that Tor keeps is in the folder of the hostname file', () => {
  const text = torrcFor({ ...TORRC_DEFAULTS, managed: true, hostnameFile: '/srv/my tor/hostname' })
  assert.match(text, /^HiddenServiceDir "\/srv\/my tor\/"$/m)
  assert.match(text, /^# --onion-hostname-file \/srv\/my tor\/hostname,/m)
  assert.match(torrcFor(TORRC_DEFAULTS), /^#HiddenServiceDir \/var\/lib\/tor\/fidelity-tracker\/$/m)
})

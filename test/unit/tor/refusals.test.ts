/** What Tor says no to, as it says it, becomes one sentence that names the cause and what to type. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CONTROL_COMMANDS, TorRefusal } from '../../../src/tor/refusals.ts'

const SRC = new URL('../../../src/', import.meta.url).pathname

test('each kind of refusal has its cause and its remedy', () => {
  for (const [command, code, words, cause, remedy] of [
    [
      'ADD_ONION',
      512,
      'Tor is in non-anonymous hidden service mode',
      /without anonymity/,
      /remove HiddenServiceNonAnonymousMode and HiddenServiceSingleHopMode from torrc/,
    ],
    [
      'ADD_ONION',
      510,
      'Command filtered',
      /^a filter before Tor's control port/,
      /let it through.*onion-grater.*needed are PROTOCOLINFO, AUTHCHALLENGE, AUTHENTICATE, ADD_ONION, and of use SETEVENTS HS_DESC HS_DESC_CONTENT /,
    ],
    ['ADD_ONION', 510, 'Unrecognized command "ADD_ONION"', /too old.* or a filter/, /upgrade Tor to 0\.4\.9/],
    ['ADD_ONION', 550, 'Onion address collision', /^another program publishes our onion key/, /stop that one/],
    ['ADD_ONION', 551, 'Onion address collision', /^another program publishes our onion key/, /stop that one/],
    ['ADD_ONION', 551, 'Failed to add Onion Service', /^Tor could not do ADD_ONION/, /journalctl -u tor@default/],
    ['ADD_ONION', 513, 'Invalid key type', /too old for v3/, /upgrade it to 0\.4\.9/],
    ['ADD_ONION', 512, "Unrecognized keyword argument 'Port'", /does not take ADD_ONION/, /upgrade it to 0\.4\.9/],
    ['ADD_ONION', 512, 'Failed to decode ED25519-V3 key', /can't read the key/, /put the key's copy back/],
    ['ADD_ONION', 512, 'Invalid VIRTPORT/TARGET', /can't use where the service is to lead to/, /--onion-target/],
    ['GETINFO x', 552, 'Unrecognized key "x"', /does not take GETINFO x/, /upgrade/],
    ['ADD_ONION', 514, 'Authentication required.', /does not let us in/, /CookieAuthentication 1/],
    ['AUTHENTICATE', 515, 'Bad authentication', /does not let us in/, /--tor-auth-password/],
    ['SETEVENTS HS_DESC', 599, 'whatever', /could not do SETEVENTS HS_DESC/, /journalctl/],
  ] as const) {
    const { message } = new TorRefusal(command, code, words)
    assert.match(message, cause)
    assert.match(message, remedy)
    assert.ok(message.includes(`${command} (${code} ${words})`), message)
  }
})

test('only Tor’s own word makes it the fault of the key; fewer arguments may help where one is not known or filtered', () => {
  const all = (of: (refusal: TorRefusal) => boolean) =>
    [
      [512, 'Failed to decode ED25519-V3 key'],
      [513, 'Failed to decode ED25519-V3 key'],
      [551, 'Failed to decode ED25519-V3 key'],
      [513, 'Invalid key type'],
      [512, 'Unrecognized flag'],
      [510, 'Command filtered'],
      [551, 'Failed to add Onion Service'],
    ].map(([code, words]) => of(new TorRefusal('ADD_ONION', code as number, words as string)))
  assert.deepEqual(
    all(({ isKeyFault }) => isKeyFault),
    [true, true, false, false, false, false, false],
  )
  assert.deepEqual(
    all(({ isArgumentFault }) => isArgumentFault),
    [false, false, false, true, true, true, false],
  )
})

test('what a filter has to let through is named completely: every command that the source gives', () => {
  const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /^(tor|doctor)\/.*\.ts$/.test(file),
  )
  const text = sources
    .map((file) => readFileSync(join(SRC, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''))
    .join('\n')
  const named = [...CONTROL_COMMANDS.needed, ...CONTROL_COMMANDS.optional, ...CONTROL_COMMANDS.backEnd].join('\n')
  const commands = [...text.matchAll(/\bmust\([`'](\w+)/g)].map(([, command]) => command!)
  const keys = [...text.matchAll(/(?:\binfo\(|infoIfAllowed\(control, )[`']([a-z/-]+)/g)].map(([, key]) => key!)
  const events = [...text.matchAll(/\b(HS_DESC|HS_DESC_CONTENT|STATUS_GENERAL)'/g)].map(([, event]) => event!)
  assert.ok(commands.length >= 7 && keys.length >= 8 && events.length >= 3, `${commands} ${keys} ${events}`)
  for (const word of [...commands, ...keys, ...events]) assert.ok(named.includes(word), word)
})

test('a stranger’s words are cut, and can not steer a terminal', () => {
  const { message } = new TorRefusal('ADD_ONION', 551, `\u001b[2J\n${'x'.repeat(5_000)}`)
  assert.ok(message.length < 400, message)
  assert.doesNotMatch(message, /[^\x20-\x7e]/)
})

/** The control connection and the publishing loop against a control port that cuts, glues, refuses and hangs up. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import pino from 'pino'
import { ConfigError, TransientError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { TorControl } from '../../src/tor/control.ts'
import { Healing } from '../../src/tor/healing.ts'
import { OnionService, type OnionState } from '../../src/tor/onion.ts'
import { TorRefusal } from '../../src/tor/refusals.ts'
import { systemClock } from '../../src/world.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { protocolInfo, type RawReply, type Reply, startFakeControl } from '../support/fake-control.ts'
import { heapBytes } from '../support/heap.ts'

const LABEL = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd'

/** A Tor without authentication that answers what the test gives it first. */
function tor(more: (command: string) => string | RawReply | undefined = () => undefined): Reply {
  return (command) => {
    const special = more(command)
    if (special !== undefined) return special
    if (command.startsWith('PROTOCOLINFO')) return protocolInfo('NULL')
    if (command === 'GETINFO version') return '250-version=0.4.8.1 (git-1)\r\n250 OK'
    if (command === 'GETINFO onions/current') return `250-onions/current=${LABEL}\r\n250 OK`
    return '250 OK'
  }
}

function open(control: { host: string; port: number }, password?: string): TorControl {
  return new TorControl({ control, password: password === undefined ? undefined : new Secret(password) })
}

test('replies cut at every byte, with data lines and events between them, reach their commands in order', async () => {
  const data = 'ab\n.dots\n\nend'
  const stuffed = data.replaceAll('\n', '\r\n').replace('\r\n.', '\r\n..')
  await using fake = await startFakeControl(
    tor((command) => {
      const key = /^GETINFO (config-\d+)$/.exec(command)?.[1]
      return key && `650 HS_DESC UPLOADED x y z\r\n250+${key}=\r\n${stuffed}\r\n.\r\n250 OK`
    }),
  )
  using control = open(fake.control)
  await control.connect()
  const events: string[] = []
  await control.subscribe(['HS_DESC'], (line) => events.push(line))
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => control.info(`config-${i}`)))
  assert.deepEqual(answers, Array(20).fill(data))
  assert.equal(events.length, 20)
  assert.equal(events[0], 'HS_DESC UPLOADED x y z')
})

test('commands of the package work over this transport', async () => {
  await using fake = await startFakeControl(
    tor((c) => (c.startsWith('DEL_ONION') ? '552 Unknown Onion Service id' : undefined)),
  )
  using control = open(fake.control)
  await control.connect()
  assert.equal(((await control.delOnion(`${LABEL}.onion`)) as unknown as { type: number }).type, 552)
  assert.equal(fake.commands.at(-1), `DEL_ONION ${LABEL}`)
  await assert.rejects(control.must('DEL_ONION x'), (error) => error instanceof TorRefusal && error.code === 552)
  await assert.rejects(control.sendCommand('GETINFO a\r\nQUIT'), TypeError)
  await assert.rejects(control.info('config-text'), /answered a question about config-text with something else/)
  await assert.rejects(control.setting('SocksPort'), TransientError)
})

test('a connection that ends in mid-reply rejects what waits and what comes later', async () => {
  await using fake = await startFakeControl(tor(), { bytewise: false })
  using control = open(fake.control)
  await control.connect()
  const reason = control.closed
  const waiting = control.sendCommand('GETINFO version')
  fake.hangUp()
  await assert.rejects(waiting, TransientError)
  assert.ok((await reason) instanceof TransientError)
  await assert.rejects(control.sendCommand('GETINFO version'), TransientError)
})

test('a reply without end is cut off', async () => {
  await using fake = await startFakeControl(
    tor((c) => (c === 'GETINFO flood' ? `250+flood=\r\n${'x'.repeat(2_000_000)}` : undefined)),
    { bytewise: false },
  )
  using control = open(fake.control)
  await control.connect()
  await assert.rejects(control.info('flood'), /longer than/)
})

test('events without end are cut off, and what nobody asked for ends the connection', async () => {
  for (const [said, expected] of [
    [{ raw: '250 OK\r\n' }, undefined],
    [{ raw: `250 OK\r\n650 HS_DESC ${'x'.repeat(2_000)}\r\n` }, undefined],
    [{ raw: '250 OK\r\n650 HS_DESC x\r\n250 OK\r\n' }, /says what nobody asked for/],
    [{ raw: '650 HS_DESC UPLOADED x\r\n', isEndless: true }, /more than 16777216 bytes of events/],
    [{ raw: '650+HS_DESC x\r\ny\r\n.\r\n650 OK\r\n', isEndless: true }, /more than 16777216 bytes of events/],
    [{ raw: '650-HS_DESC UPLOADED x\r\n', isEndless: true }, /a reply longer than 1048576 bytes/],
  ] as const) {
    await using fake = await startFakeControl(
      tor((c) => (c.startsWith('SETEVENTS') ? said : undefined)),
      { bytewise: false },
    )
    using control = open(fake.control)
    await control.connect()
    await control.subscribe(['HS_DESC'], () => {}).catch(() => {})
    if (expected) assert.match((await control.closed).message, expected)
    else assert.equal(await control.info('version'), '0.4.8.1 (git-1)')
  }
})

test('each way of being refused names its setting', async () => {
  const fails = async (
    reply: Reply,
    expected: RegExp,
    kind: typeof ConfigError | typeof TransientError,
    password?: string,
  ) => {
    await using fake = await startFakeControl(reply)
    using control = open(fake.control, password)
    await assert.rejects(control.connect(), (error) => {
      assert.ok(error instanceof kind, String(error))
      assert.match(error.message, expected)
      assert.match(error.message, /--control-port/)
      return true
    })
  }
  const methods = (list: string, file?: string) =>
    tor((c) => (c.startsWith('PROTOCOLINFO') ? protocolInfo(list, file) : undefined))
  await fails(methods('HASHEDPASSWORD'), /wants a password: give --tor-auth-password/, ConfigError)
  await fails(methods('FUTURE'), /no way to authenticate \(FUTURE\): add CookieAuthentication 1/, ConfigError)
  await fails(
    methods('COOKIE,SAFECOOKIE', '/nonexistent/cookie'),
    /\/nonexistent\/cookie, which is not there/,
    TransientError,
  )
  await fails(methods('SAFECOOKIE'), /does not say where its cookie is: give --tor-cookie-file/, ConfigError)
  await fails(
    tor((c) =>
      c.startsWith('PROTOCOLINFO')
        ? protocolInfo('HASHEDPASSWORD')
        : c.startsWith('AUTHENTICATE')
          ? '515 Authentication failed'
          : undefined,
    ),
    /refuses the password: check --tor-auth-password/,
    ConfigError,
    'se"sa\\me',
  )
})

test('a password is quoted; a cookie is proven by HMAC and never sent when SAFECOOKIE is offered', async () => {
  await using fake = await startFakeControl(
    tor((c) => (c.startsWith('PROTOCOLINFO') ? protocolInfo('HASHEDPASSWORD') : undefined)),
  )
  using control = open(fake.control, 'se"sa\\me')
  await control.connect()
  assert.equal(
    fake.commands.find((command) => command.startsWith('AUTHENTICATE')),
    'AUTHENTICATE "se\\"sa\\\\me"',
  )

  const dir = mkdtempSync(join(tmpdir(), 'ft-cookie-'))
  const cookie = Buffer.alloc(32, 7)
  writeFileSync(join(dir, 'cookie'), cookie)
  await using liar = await startFakeControl(
    tor((c) => {
      if (c.startsWith('PROTOCOLINFO')) return protocolInfo('COOKIE,SAFECOOKIE', join(dir, 'cookie'))
      return c.startsWith('AUTHCHALLENGE')
        ? `250 AUTHCHALLENGE SERVERHASH=${'0'.repeat(64)} SERVERNONCE=${'1'.repeat(64)}`
        : undefined
    }),
  )
  using other = open(liar.control)
  await assert.rejects(other.connect(), /does not know its cookie/)
  assert.ok(
    !liar.commands.some((command) => command.includes(cookie.toString('hex')) || command.startsWith('AUTHENTICATE')),
  )
  rmSync(dir, { recursive: true })
})

function serve(
  options: ConstructorParameters<typeof OnionService>[0],
  deps: Omit<ConstructorParameters<typeof OnionService>[1], 'healing' | 'uploaded' | 'republished'>,
  signal: AbortSignal,
): Promise<void> {
  const healing = new Healing(1_000, systemClock)
  return new OnionService(options, { ...deps, healing, uploaded() {}, republished() {} }).run(signal)
}

const quiet = { clock: systemClock, random: () => 0, log: pino({ level: 'silent' }) }

function onionOptions(control: { host: string; port: number }, dir: string) {
  const target = () => ({ host: '127.0.0.1', port: 1 })
  const nostr = { virtualPort: 80, target: () => ({ host: '127.0.0.1', port: 2 }) }
  return {
    control,
    password: undefined,
    keyFile: join(dir, 'key'),
    virtualPort: 8080,
    target,
    nostr,
    streamsPerCircuit: 16,
  }
}

/** Adds whatever it is asked to, and says at once that the descriptor is up. */
const torThatPublishes: Reply = tor((c) =>
  c.startsWith('ADD_ONION')
    ? `250-ServiceID=${LABEL}\r\n250 OK\r\n650 HS_DESC UPLOADED ${LABEL} UNKNOWN $AAAA`
    : undefined,
)

/** Runs the publishing loop until `until`, and returns the states it reported. */
async function publish(
  reply: Reply,
  until: (states: OnionState[]) => boolean,
): Promise<{ states: OnionState[]; commands: string[]; keyText: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'ft-onion-'))
  const states: OnionState[] = []
  const stop = new AbortController()
  await using fake = await startFakeControl((command) => {
    const answer = reply(command)
    if (command.startsWith('ADD_ONION') && typeof answer === 'string' && answer.startsWith('250')) {
      setImmediate(() => fake.say(`650 HS_DESC UPLOADED ${LABEL} UNKNOWN $AAAA`))
    }
    return answer
  })
  const deps = { ...quiet, report: (state: OnionState) => states.push(state) }
  const options = onionOptions(fake.control, dir)
  const running = serve(options, deps, stop.signal)
  running.catch(() => {})
  try {
    await Promise.race([running, waitUntil('the states come', () => until(states))])
    return { states, commands: fake.commands, keyText: readFileSync(options.keyFile, 'utf8') }
  } finally {
    stop.abort(new Error('stop'))
    await running.catch(() => {})
    rmSync(dir, { recursive: true })
  }
}

const added = `250-ServiceID=${LABEL}\r\n250 OK`

/** Every argument that an older Tor may not know, and what it then says. */
const DEFENCES = ['Flags=MaxStreamsCloseCircuit', 'MaxStreams=16', 'PoWDefensesEnabled=1']
const argumentsOf = (command: string) =>
  command
    .split(' ')
    .slice(2)
    .filter((argument) => !argument.startsWith('Port='))
    .sort()

test('a circuit has 16 streams, and a flood must work: where Tor knows one of them not, the others are kept', async () => {
  for (const [unknown, kept] of [
    [[], DEFENCES],
    [['PoWDefensesEnabled=1'], ['Flags=MaxStreamsCloseCircuit', 'MaxStreams=16']],
    [['Flags=MaxStreamsCloseCircuit'], ['MaxStreams=16', 'PoWDefensesEnabled=1']],
    [['Flags=MaxStreamsCloseCircuit', 'PoWDefensesEnabled=1'], ['MaxStreams=16']],
    [['Flags=MaxStreamsCloseCircuit', 'MaxStreams=16'], ['PoWDefensesEnabled=1']],
    [DEFENCES, []],
  ] as const) {
    const refuses = (c: string) => unknown.some((argument) => c.includes(argument))
    const { states, commands } = await publish(
      tor((c) => (c.startsWith('ADD_ONION') ? (refuses(c) ? '512 Unrecognized argument' : added) : undefined)),
      (seen) => seen.some(({ kind }) => kind === 'published'),
    )
    const adds = commands.filter((command) => command.startsWith('ADD_ONION'))
    assert.match(adds.at(-1)!, /^ADD_ONION ED25519-V3:\S{88} .*Port=8080,127\.0\.0\.1:1$/)
    for (const add of adds) assert.match(add, / Port=80,127\.0\.0\.1:2 /, 'the Nostr relay, every time')
    assert.deepEqual(argumentsOf(adds.at(-1)!), kept)
    assert.deepEqual(argumentsOf(adds[0]!), DEFENCES, 'all are asked for first')
    assert.deepEqual(
      states.map(({ kind }) => kind),
      ['publishing', 'published'],
    )
    assert.equal(states[1]!.detail.includes('without'), unknown.length > 0, states[1]!.detail)
  }
})

test('what a Tor lacks is said once, however often the service is added', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ft-lack-'))
  await using fake = await startFakeControl(
    (command) => (command.includes('PoWDefensesEnabled') ? '512 Unrecognized argument' : torThatPublishes(command)),
    { bytewise: false },
  )
  const stop = new AbortController()
  const lines: { msg: string; lacking?: string[] }[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  let comings = 0
  const report = ({ kind }: OnionState) => {
    if (kind === 'published' && ++comings < 4) setImmediate(() => fake.hangUp())
  }
  const running = serve(onionOptions(fake.control, dir), { ...quiet, log, report }, stop.signal)
  await waitUntil('it has come and gone', () => comings >= 4)
  stop.abort(new Error('stop'))
  await assert.rejects(running, /stop/)
  assert.deepEqual(
    lines.flatMap(({ lacking }) => (lacking ? [lacking] : [])),
    [['proof-of-work defence']],
  )
  rmSync(dir, { recursive: true })
})

test('a key that somebody else publishes is told, and tried again', async () => {
  let tries = 0
  const { states } = await publish(
    tor((c) => (c.startsWith('ADD_ONION') ? (tries++ === 0 ? '550 Onion address collision' : added) : undefined)),
    (seen) => seen.some(({ kind }) => kind === 'published'),
  )
  assert.deepEqual(
    states.map(({ kind }) => kind),
    ['unreachable', 'publishing', 'published'],
  )
  assert.match(states[0]!.detail, /another program publishes our onion key/)
})

test('whatever else Tor says no to is told in its words, tried again, and never the key’s fault', async () => {
  for (const refusal of [
    '512 Tor is in non-anonymous hidden service mode',
    '512 Bad arguments to ADD_ONION: Need at least 2 argument(s)',
    "512 Unrecognized keyword argument 'Port'",
    '513 Invalid key type',
    '510 Command filtered',
    '510 Unrecognized command "ADD_ONION"',
    '551 Failed to generate onion address',
    '552 Unrecognized option',
  ]) {
    let tries = 0
    const { states, keyText } = await publish(
      tor((c) => (c.startsWith('ADD_ONION') ? (tries++ < 6 ? refusal : added) : undefined)),
      (seen) => seen.some(({ kind }) => kind === 'published'),
    )
    const [first] = states
    assert.equal(first!.kind, 'unreachable', refusal)
    assert.ok(first!.detail.includes(refusal.slice(4)), first!.detail)
    assert.ok(first!.detail.includes(refusal.slice(0, 3)), first!.detail)
    assert.doesNotMatch(first!.detail, /onion key|restore|move it/i)
    assert.match(keyText, /^ED25519-V3:/)
  }
})

test('a filter before the control port: what it refuses is done without, or told and tried again', async () => {
  for (const command of [
    'GETINFO version',
    'GETINFO onions/current',
    'SETEVENTS',
    'SETEVENTS HS_DESC STATUS_GENERAL',
  ]) {
    const { states } = await publish(
      tor((c) => (c.startsWith(command) ? '510 Command filtered' : c.startsWith('ADD_ONION') ? added : undefined)),
      (seen) => seen.some(({ kind }) => kind === 'published'),
    )
    assert.deepEqual(
      states.map(({ kind }) => kind),
      ['publishing', 'published'],
      command,
    )
    assert.equal(/its upload is not seen: a filter/.test(states[1]!.detail), command === 'SETEVENTS')
  }
  for (const command of ['PROTOCOLINFO', 'AUTHENTICATE']) {
    let tries = 0
    const { states } = await publish(
      tor((c) => {
        if (c.startsWith(command) && tries++ === 0) return '510 Command filtered'
        return c.startsWith('ADD_ONION') ? added : undefined
      }),
      (seen) => seen.some(({ kind }) => kind === 'published'),
    ).catch((error) => ({ states: [{ kind: 'refused', detail: String(error) }] }))
    assert.match(states[0]!.detail, /510 Command filtered/, command)
  }
})

test('a key that Tor can not read: the file is named, its copy is asked for, and it stays where it is', async () => {
  await assert.rejects(
    publish(
      tor((c) => (c.startsWith('ADD_ONION') ? '512 Failed to decode ED25519-V3 key' : undefined)),
      () => false,
    ),
    (error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /can't read the onion key \S+\/key \(.*512 Failed to decode .*\): put its copy back/)
      return true
    },
  )
})

test('directories that have a newer descriptor: told with its causes, and not taken for a network that is away', async () => {
  const rejected = `650 HS_DESC FAILED ${LABEL} NO_AUTH $A~a blinded REASON=UPLOAD_REJECTED`
  const dir = mkdtempSync(join(tmpdir(), 'ft-rejected-'))
  await using fake = await startFakeControl(
    tor((c) => (c.startsWith('ADD_ONION') ? [added, ...Array(8).fill(rejected)].join('\r\n') : undefined)),
    { bytewise: false },
  )
  const states: OnionState[] = []
  const stop = new AbortController()
  const report = (state: OnionState) => states.push(state)
  const running = serve(onionOptions(fake.control, dir), { ...quiet, report }, stop.signal)
  await waitUntil('it is told', () => states.at(-1)?.kind === 'unreachable')
  assert.match(
    states.at(-1)!.detail,
    /they have a newer one of this address: .* copy of our onion\.key, or a clock .* timedatectl/,
  )
  stop.abort(new Error('stop'))
  await assert.rejects(running, /stop/)
  rmSync(dir, { recursive: true })
})

test('published again when it is not reached: taken down first, under the same key; not while Tor itself is not well', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ft-again-'))
  const said: Record<string, string> = { 'network-liveness': 'down', 'status/circuit-established': '1' }
  await using fake = await startFakeControl(
    (command) => {
      const value = said[command.replace(/^GETINFO /, '')]
      return value === undefined ? torThatPublishes(command) : `250-${command.slice(8)}=${value}\r\n250 OK`
    },
    { bytewise: false },
  )
  const states: OnionState[] = []
  const lines: { msg: string; detail?: string }[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const healing = new Healing(0, systemClock)
  const stop = new AbortController()
  let times = 0
  const running = new OnionService(onionOptions(fake.control, dir), {
    ...quiet,
    log,
    healing,
    report: (state) => states.push(state),
    uploaded() {},
    republished: () => void times++,
  }).run(stop.signal)
  const isUp = () => states.at(-1)?.kind === 'published'
  await waitUntil('it is published', isUp)
  for (const [key, value] of [
    ['network-liveness', 'down'],
    ['status/circuit-established', '0'],
  ] as const) {
    Object.assign(said, { 'network-liveness': 'up', 'status/circuit-established': '1', [key]: value })
    const before = lines.length
    healing.note({ runs: 3, isReplaced: false, detail: 'silent' })
    await waitUntil('it is refused', () => lines.slice(before).some(({ msg }) => /Tor itself is not well/.test(msg)))
  }
  assert.equal(times, 0)
  Object.assign(said, { 'network-liveness': 'up', 'status/circuit-established': '1' })
  healing.note({ runs: 3, isReplaced: false, detail: 'silent' })
  await waitUntil('it is published again', () => times === 1 && isUp())
  assert.deepEqual(
    states.slice(2).map(({ kind, detail }) => [kind, detail]),
    [
      ['publishing', 'taken down, to be published again: silent'],
      ['publishing', 'waiting for the first descriptor upload'],
      ['published', 'descriptor uploaded'],
    ],
  )
  const verbs = fake.commands.filter((command) => /^(ADD|DEL)_ONION/.test(command))
  assert.deepEqual(
    verbs.map((command) => command.split(' ')[0]),
    ['ADD_ONION', 'DEL_ONION', 'ADD_ONION'],
  )
  assert.equal(verbs[0], verbs[2])
  assert.equal(verbs[1], `DEL_ONION ${LABEL}`)
  stop.abort(new Error('stop'))
  await assert.rejects(running, /stop/)
  rmSync(dir, { recursive: true })
})

test('a clock that is off is told with the service', async () => {
  const { states } = await publish(
    tor((c) =>
      c.startsWith('ADD_ONION')
        ? `${added}\r\n650 STATUS_GENERAL WARN CLOCK_SKEW SKEW=3600 SOURCE=DIRSERV:127.0.0.1:1`
        : undefined,
    ),
    (seen) => seen.some(({ kind }) => kind === 'published'),
  )
  assert.match(
    states.at(-1)!.detail,
    /^descriptor uploaded; Tor says that this machine's clock is 60 minutes ahead: sudo timedatectl/,
  )
})

test('a Tor that comes and goes leaves nothing behind on the signal that outlives it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ft-leak-'))
  await using fake = await startFakeControl(torThatPublishes, { bytewise: false })
  const stop = new AbortController()
  let comings = 0
  const report = ({ kind }: OnionState) => {
    if (kind !== 'published') return
    comings++
    setImmediate(() => fake.hangUp()) // and comes back: the pause begins anew
  }
  const running = serve(onionOptions(fake.control, dir), { ...quiet, report }, stop.signal)
  await waitUntil('it has come and gone', () => comings >= 15)
  const held = getEventListeners(stop.signal, 'abort').length
  stop.abort(new Error('stop'))
  await assert.rejects(running, /stop/)
  assert.ok(held <= 2, `${held} listeners`)
  assert.equal(getEventListeners(stop.signal, 'abort').length, 0)
  rmSync(dir, { recursive: true })
})

test('a service that stays published costs no memory, however often it is looked at', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'ft-leak-'))
  const looks = 1_500
  // The pause between two looks is left out: no other one is as long.
  const { setTimeout: real } = globalThis
  globalThis.setTimeout = ((fire: () => void, ms: number) => real(fire, ms === 30_000 ? 0 : ms)) as typeof real
  t.after(() => {
    globalThis.setTimeout = real
  })
  let looked = 0
  await using fake = await startFakeControl(
    (command) => {
      if (command === 'GETINFO onions/current') looked++
      fake.commands.length = 0
      return torThatPublishes(command)
    },
    { bytewise: false },
  )
  const stop = new AbortController()
  const states: OnionState[] = []
  const report = (state: OnionState) => states.push(state)
  const running = serve(onionOptions(fake.control, dir), { ...quiet, report }, stop.signal)
  const afterLooks = (count: number) => waitUntil('it is looked at', () => looked >= count, { timeoutMs: 120_000 })
  await afterLooks(500)
  // What grows does so every time; what else this process does shows once.
  let each = Number.POSITIVE_INFINITY
  for (let span = 0; span < 3; span++) {
    const [from, before] = [looked, heapBytes()]
    await afterLooks(from + looks)
    each = Math.min(each, (heapBytes() - before) / (looked - from))
  }
  stop.abort(new Error('stop'))
  await assert.rejects(running, /stop/)
  assert.deepEqual([states.length, states.at(-1)?.kind], [2, 'published'], 'the connection was lost meanwhile')
  assert.ok(each < 300, `${each} bytes a look`)
  rmSync(dir, { recursive: true })
})

test('no authentication method at first contact ends the loop', async () => {
  await assert.rejects(
    publish(
      tor((c) => (c.startsWith('PROTOCOLINFO') ? protocolInfo('FUTURE') : undefined)),
      () => false,
    ),
    ConfigError,
  )
})

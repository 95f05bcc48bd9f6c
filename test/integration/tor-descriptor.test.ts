/** Fetching our own descriptor through a control port that fails, refuses, hurries and mixes: what a real one does rarely. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DescriptorLooks, parseDescriptor } from '../../src/tor/descriptor.ts'
import { descriptorText, REAL_DESCRIPTOR } from '../support/descriptors.ts'
import { type FakeControl, protocolInfo, startFakeControl } from '../support/fake-control.ts'

const LABEL = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd'
const OTHER = 'nbaztmzggosxszc3bt57vagpwypd7cyc72rixvm5hkz5sv4waxmbfnid'
const HOST = `${LABEL}.onion`
const forever = new AbortController().signal

const asked = (directory: string, id = LABEL) =>
  `650 HS_DESC REQUESTED ${id} NO_AUTH ${directory} blinded HSDIR_INDEX=00`
const failed = (directory: string, reason: string) =>
  `650 HS_DESC FAILED ${LABEL} NO_AUTH ${directory} blinded REASON=${reason}`
const received = (directory: string, text: string, id = LABEL) =>
  `650 HS_DESC RECEIVED ${id} NO_AUTH ${directory} blinded\r\n` +
  `650+HS_DESC_CONTENT ${id} blinded ${directory}\r\n${text.replaceAll('\n', '\r\n')}\r\n.\r\n650 OK`

interface Told {
  /** What is said after the n-th HSFETCH. */
  fetch: (turn: number, command: string) => string[]
  /** Instead of `250 OK`, by the beginning of the command. */
  refuse?: Record<string, string>
  /** The service's own descriptor. */
  own?: string
}

async function startTor({ fetch, refuse = {}, own }: Told): Promise<FakeControl> {
  let turn = 0
  return await startFakeControl(
    (command) => {
      const refused = Object.entries(refuse).find(([begin]) => command.startsWith(begin))
      if (refused) return refused[1]
      if (command.startsWith('PROTOCOLINFO')) return protocolInfo('NULL')
      if (command.startsWith('HSFETCH')) return ['250 OK', ...fetch(turn++, command)].join('\r\n')
      if (command.startsWith('GETINFO hs/service')) {
        if (own === undefined) return '551 Not found in cache'
        const key = command.slice('GETINFO '.length)
        return `250+${key}=\r\n${own.replaceAll('\n', '\r\n')}\r\n.\r\n250 OK`
      }
      return '250 OK'
    },
    { bytewise: false },
  )
}

function looksAt({ control }: FakeControl, clock = { monotonicMs: () => 0 }) {
  return new DescriptorLooks({ control, password: undefined, cookieFile: undefined }, clock)
}

test('fetched, and set beside our own of the same time period; events of other services are passed over', async () => {
  const text = descriptorText(REAL_DESCRIPTOR.revision + 5n)
  const others = [asked('$B~b', OTHER), received('$B~b', descriptorText(1n), OTHER)]
  await using tor = await startTor({
    fetch: () => [...others, asked('$A~a'), ...others, received('$A~a', text)],
    own: descriptorText(),
  })
  const look = await looksAt(tor).look(HOST, forever)
  assert.deepEqual(look, {
    kind: 'fetched',
    fetched: { ...REAL_DESCRIPTOR, revision: REAL_DESCRIPTOR.revision + 5n },
    own: REAL_DESCRIPTOR,
  })
  assert.ok(
    tor.commands.indexOf(`GETINFO hs/service/desc/id/${LABEL}`) > tor.commands.indexOf(`HSFETCH ${LABEL}`),
    'our own is read last: one that was made meanwhile is ours',
  )
})

test('our own one as Tor shows it, be it of another time period, or none', async () => {
  const older = descriptorText(1n, 1)
  for (const own of [older, undefined]) {
    await using tor = await startTor({
      fetch: () => [asked('$A~a'), received('$A~a', descriptorText())],
      ...(own !== undefined && { own }),
    })
    const look = await looksAt(tor).look(HOST, forever)
    assert.deepEqual(look, { kind: 'fetched', fetched: REAL_DESCRIPTOR, own: own && parseDescriptor(own) })
  }
})

test('a directory that fails is passed over; when all that are asked do, nobody finds us', async () => {
  await using tor = await startTor({
    fetch: (turn) =>
      turn < 2 ? [asked('$A~a'), failed('$A~a', 'UNEXPECTED')] : [asked('$B~b'), received('$B~b', descriptorText())],
  })
  assert.equal((await looksAt(tor).look(HOST, forever)).kind, 'fetched')
  await using empty = await startTor({ fetch: () => [asked('$A~a'), failed('$A~a', 'NOT_FOUND')] })
  const look = await looksAt(empty).look(HOST, forever)
  assert.equal(look.kind, 'missing')
  assert.match((look as { detail: string }).detail, /\$A~a: NOT_FOUND/)
  assert.ok((look as { isDenied: boolean }).isDenied)
  assert.equal(empty.commands.filter((command) => command.startsWith('HSFETCH')).length, 3)
  await using odd = await startTor({ fetch: () => [asked('$A~a'), received('$A~a', 'hello')] })
  assert.equal((await looksAt(odd).look(HOST, forever)).kind, 'missing')
})

test('where Tor has asked every directory of late, it is told which one to ask', async () => {
  await using tor = await startTor({
    fetch: (turn, command) => {
      if (turn === 0) return [asked('$A~a'), received('$A~a', descriptorText())]
      return command.endsWith(' SERVER=$A~a')
        ? [asked('$A~a'), received('$A~a', descriptorText())]
        : [failed('UNKNOWN', 'QUERY_NO_HSDIR')]
    },
  })
  const looks = looksAt(tor)
  for (let i = 0; i < 3; i++) assert.equal((await looks.look(HOST, forever)).kind, 'fetched')
  const fetches = tor.commands.filter((command) => command.startsWith('HSFETCH'))
  assert.deepEqual(fetches.slice(1), [`HSFETCH ${LABEL}`, `HSFETCH ${LABEL} SERVER=$A~a`].concat(fetches.slice(3)))
  await using silent = await startTor({ fetch: () => [failed('UNKNOWN', 'QUERY_NO_HSDIR')] })
  const look = await looksAt(silent).look(HOST, forever)
  assert.deepEqual(look, { kind: 'missing', isDenied: false, detail: 'Tor: QUERY_NO_HSDIR' })
})

test('a filter: Tor is made to forget what it kept, now and then; where that is refused too, it is said', async () => {
  for (const command of ['HSFETCH', 'SETEVENTS']) {
    let nowMs = 1_000_000
    await using tor = await startTor({ fetch: () => [], refuse: { [command]: '510 Command filtered' } })
    const looks = looksAt(tor, { monotonicMs: () => nowMs })
    assert.deepEqual(await looks.look(HOST, forever), { kind: 'forgotten' })
    const soon = await looks.look(HOST, forever)
    assert.equal(soon.kind, 'unseen')
    assert.match((soon as { detail: string }).detail, new RegExp(`${command}.*510 Command filtered`))
    nowMs += 300_000
    assert.deepEqual(await looks.look(HOST, forever), { kind: 'forgotten' })
    assert.equal(tor.commands.filter((one) => one === 'SIGNAL NEWNYM').length, 2)
  }
  await using strict = await startTor({
    fetch: () => [],
    refuse: { HSFETCH: '510 Command filtered', SIGNAL: '510 Command filtered' },
  })
  const look = await looksAt(strict).look(HOST, forever)
  assert.equal(look.kind, 'unseen')
  assert.match((look as { detail: string }).detail, /refuses HSFETCH \(510 Command filtered\)/)
})

test('whatever else the control port does is told as unseen; a stop ends the look', async () => {
  const answers: [string, RegExp][] = [
    ['515 Authentication failed', /515/],
    ['garbage', /./],
  ]
  for (const [answer, expected] of answers) {
    await using tor = await startTor({ fetch: () => [], refuse: { AUTHENTICATE: answer, PROTOCOLINFO: answer } })
    const look = await looksAt(tor).look(HOST, forever)
    assert.equal(look.kind, 'unseen', answer)
    assert.match((look as { detail: string }).detail, expected)
  }
  await using gone = await startFakeControl(() => undefined)
  assert.equal((await looksAt(gone).look(HOST, forever)).kind, 'unseen')

  const stop = new AbortController()
  await using slow = await startTor({
    fetch: () => {
      setImmediate(() => stop.abort(new Error('stop')))
      return [asked('$A~a')]
    },
  })
  await assert.rejects(looksAt(slow).look(HOST, stop.signal), /stop/)
})

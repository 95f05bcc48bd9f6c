/**
 * Logging in where somebody else may be listening: no file but a cookie is read, none is shown, nobody who was given a
 * password or a cookie goes in without, and whatever is said before the login is bounded in bytes and time.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { AccessRefused, TransientError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { type ControlOptions, TorControl } from '../../src/tor/control.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { type FakeControl, protocolInfo, type Reply, startFakeControl } from '../support/fake-control.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Offers these methods, knows this cookie, and takes every login. */
function tor(methods: string, cookieFile?: string, cookie?: Uint8Array): Reply {
  return (command) => {
    if (command.startsWith('PROTOCOLINFO')) return protocolInfo(methods, cookieFile)
    const clientNonce = /^AUTHCHALLENGE SAFECOOKIE (\w+)$/.exec(command)?.[1]
    if (clientNonce === undefined) return '250 OK'
    const serverNonce = randomBytes(32)
    const text = Buffer.concat([cookie ?? Buffer.alloc(32), Buffer.from(clientNonce, 'hex'), serverNonce])
    const key = 'Tor safe cookie authentication server-to-controller hash'
    const hash = createHmac('sha256', key).update(text).digest('hex')
    return `250 AUTHCHALLENGE SERVERHASH=${hash} SERVERNONCE=${serverNonce.toString('hex')}`
  }
}

type Given = Omit<Partial<ControlOptions>, 'control'>

/** Logs in; returns by what. */
async function logIn(fake: FakeControl, given: Given = {}): Promise<TorControl['authenticated']> {
  using control = new TorControl({ control: fake.control, password: undefined, ...given })
  await control.connect()
  return control.authenticated
}

/** Fails to; returns why, as one sentence. */
async function refused(fake: FakeControl, given: Given = {}): Promise<Error> {
  try {
    assert.fail(`let in by ${(await logIn(fake, given))?.method}`)
  } catch (error) {
    assert.ok(error instanceof TransientError || error instanceof AccessRefused, String(error))
    assert.ok(error.message.length < 1_000 && !error.message.includes('\n'), error.message)
    return error
  }
}

test('a cookie is a regular file of 32 bytes: nothing else is waited for, read or sent', {
  timeout: 20_000,
}, async () => {
  using dir = tempDir()
  const at = (name: string) => join(dir.path, name)
  execFileSync('mkfifo', [at('fifo')])
  mkdirSync(at('folder'))
  writeFileSync(at('key'), 'ED25519-V3:secret')
  writeFileSync(at('short'), Buffer.alloc(31, 'S'))
  writeFileSync(at('long'), Buffer.alloc(33, 'S'))
  writeFileSync(at('empty'), '')
  symlinkSync(at('key'), at('link'))
  symlinkSync(at('circle'), at('circle'))
  const others = [
    '/etc/passwd',
    '/dev/zero',
    '/dev/stdin',
    '/proc/self/environ',
    `/${'x'.repeat(300)}`,
    `${at('a')}\\000b`,
  ]
  const before = process.memoryUsage().rss
  for (const file of [...['fifo', 'folder', 'key', 'short', 'long', 'empty', 'link', 'circle'].map(at), ...others]) {
    for (const methods of ['COOKIE', 'COOKIE,SAFECOOKIE', 'SAFECOOKIE']) {
      await using fake = await startFakeControl(tor(methods, file), { bytewise: false })
      const error = await refused(fake)
      assert.ok(error instanceof TransientError, file)
      assert.match(error.message, /as its cookie, which is none \(a regular file of 32 bytes\)/, file)
      assert.deepEqual(fake.commands, ['PROTOCOLINFO 1'], file)

      if (file.includes('\\')) continue
      await using real = await startFakeControl(tor(methods), { bytewise: false })
      const given = await refused(real, { cookieFile: file })
      assert.ok(given instanceof AccessRefused, file)
      assert.match(given.message, /--tor-cookie-file \S+ is no cookie of Tor's/)
      assert.deepEqual(real.commands, ['PROTOCOLINFO 1'], file)
    }
  }
  assert.ok(process.memoryUsage().rss - before < 100e6, 'nothing large was read')
})

test('SAFECOOKIE wherever it is offered; the cookie itself is sent only if its file can be one of Tor’s', async () => {
  using dir = tempDir()
  const file = join(dir.path, 'späte cookie"s')
  const cookie = randomBytes(32)
  writeFileSync(file, cookie)
  // As Tor writes it.
  const told = file.replace('ä', '\\303\\244').replace('"', '\\"')
  for (const methods of ['SAFECOOKIE', 'COOKIE,SAFECOOKIE', 'NULL,SAFECOOKIE', 'COOKIE,SAFECOOKIE,HASHEDPASSWORD']) {
    await using fake = await startFakeControl(tor(methods, told, cookie))
    assert.deepEqual(await logIn(fake), { method: 'cookie', cookieFile: file, isProven: true })
    assert.ok(!fake.commands.some((command) => command.includes(cookie.toString('hex'))), methods)
    await using liar = await startFakeControl(tor(methods, told, randomBytes(32)))
    assert.match((await refused(liar)).message, /does not know its cookie/)
    assert.ok(!liar.commands.some((command) => command.startsWith('AUTHENTICATE')), methods)
  }
  await using old = await startFakeControl(tor('COOKIE', told))
  assert.deepEqual(await logIn(old), { method: 'cookie', cookieFile: file, isProven: false })
  assert.match((await refused(old, { demandsProof: true })).message, /does not offer to prove that it is Tor/)
  const sent = old.commands.filter((command) => command.startsWith('AUTHENTICATE'))
  assert.deepEqual(sent, [`AUTHENTICATE ${cookie.toString('hex')}`])
})

const isRoot = process.getuid?.() === 0

test('a cookie of another user is not sent', { skip: !isRoot && 'needs root, to give a file away' }, async () => {
  using dir = tempDir()
  const file = join(dir.path, 'cookie')
  writeFileSync(file, Buffer.alloc(32, 7))
  chownSync(file, 54_321, 54_321)
  await using old = await startFakeControl(tor('COOKIE', file))
  assert.match((await refused(old)).message, /belongs to user 54321: neither Tor's, root's nor ours, it is not sent/)
  assert.deepEqual(old.commands, ['PROTOCOLINFO 1'])
})

test('Tor in another container: its cookie by --tor-cookie-file, whatever path it names', async () => {
  using dir = tempDir()
  const cookieFile = join(dir.path, 'shared')
  const cookie = randomBytes(32)
  await using fake = await startFakeControl(tor('COOKIE,SAFECOOKIE,HASHEDPASSWORD', '/run/elsewhere/cookie', cookie))
  const absent = await refused(fake)
  assert.ok(absent instanceof TransientError)
  assert.match(
    absent.message,
    /\/run\/elsewhere\/cookie, which is not there on this machine \(yet\): if Tor runs elsewhere/,
  )
  assert.match(absent.message, /with --tor-cookie-file, or give --tor-auth-password, which it takes as well$/)
  const early = await refused(fake, { cookieFile })
  assert.ok(early instanceof TransientError)
  assert.match(early.message, /^--tor-cookie-file \S+\/shared is not there \(yet\)/)
  writeFileSync(cookieFile, cookie)
  assert.deepEqual(await logIn(fake, { cookieFile }), { method: 'cookie', cookieFile, isProven: true })
  await using noPassword = await startFakeControl(tor('COOKIE,SAFECOOKIE', '/run/elsewhere/cookie'))
  assert.doesNotMatch((await refused(noPassword)).message, /--tor-auth-password/)
})

test('who was given a password or a cookie never goes in without: an impostor would be given the onion key', async () => {
  using dir = tempDir()
  const cookieFile = join(dir.path, 'cookie')
  const cookie = randomBytes(32)
  writeFileSync(cookieFile, cookie)
  const password = new Secret('sesame')
  for (const [given, name] of [
    [{ password }, '--tor-auth-password'],
    [{ cookieFile }, '--tor-cookie-file'],
  ] as const) {
    await using fake = await startFakeControl(tor('NULL'))
    const error = await refused(fake, given)
    assert.ok(error instanceof AccessRefused)
    assert.match(error.message, /lets in everybody, and \S+ is given: who listens there may not be Tor/)
    assert.ok(error.message.includes(`${name} is given`) && error.message.includes(`or leave ${name} out`))
    assert.deepEqual(fake.commands, ['PROTOCOLINFO 1'])
  }
  await using changed = await startFakeControl(tor('NULL'))
  const weather = await refused(changed, { demandsProof: true })
  assert.ok(weather instanceof TransientError)
  assert.match(weather.message, /lets in everybody, which it did not before/)
  assert.equal((await logIn(changed))?.method, 'NULL')

  await using plain = await startFakeControl(tor('COOKIE', cookieFile, cookie))
  assert.match((await refused(plain, { password })).message, /takes no password, and --tor-auth-password is given/)
  await using both = await startFakeControl(tor('COOKIE,SAFECOOKIE,HASHEDPASSWORD', cookieFile, cookie))
  assert.deepEqual(await logIn(both, { password }), { method: 'password', isProven: false })
  await using safe = await startFakeControl(tor('COOKIE,SAFECOOKIE', cookieFile, cookie))
  assert.deepEqual(await logIn(safe, { password }), { method: 'cookie', cookieFile, isProven: true })
})

/** What is said at `command`; the rest is as Tor has it. */
function at(command: string, said: ReturnType<Reply>): Reply {
  const rest = tor('NULL')
  return (given) => (given.startsWith(command) ? said : rest(given))
}

test('whatever is said before the login: the bytes are bounded', { timeout: 20_000 }, async () => {
  const before = process.memoryUsage().rss
  for (const command of ['PROTOCOLINFO', 'AUTHENTICATE']) {
    for (const [raw, expected] of [
      ['650 HS_DESC UPLOADED x y z\r\n', /what nobody asked for|more than 20000 bytes/],
      ['650+HS_DESC x\r\ny\r\n', /more than 20000 bytes before the login/],
      ['250-AUTH METHODS=NULL\r\n', /more than 20000 bytes/],
      ['250+x=\r\nline\r\n', /more than 20000 bytes/],
      ['250 OK\r\n', /what nobody asked for|more than 20000 bytes/],
      ['2', /more than 20000 bytes/],
      ['HTTP/1.1 400 Bad Request\r\n', /does not answer as Tor does/],
      ['\r\n', /does not answer as Tor does/],
      ['\0', /more than 20000 bytes/],
      ['250-a\r\n650 b\r\n', /does not answer as Tor does/],
    ] as const) {
      await using fake = await startFakeControl(at(command, { raw, isEndless: true }), { bytewise: false })
      const error = await refused(fake)
      assert.ok(error instanceof TransientError)
      assert.match(error.message, expected, JSON.stringify(raw))
      assert.match(error.message, /--control-port/)
    }
  }
  assert.ok(process.memoryUsage().rss - before < 100e6, 'nothing was kept')
})

test('whatever is not said before the login: the time is bounded', { timeout: 20_000 }, async (t) => {
  // Nobody waits for the ten seconds that a command has.
  const { setTimeout: real } = globalThis
  globalThis.setTimeout = ((fire: () => void, ms: number) => real(fire, ms === 10_000 ? 50 : ms)) as typeof real
  t.after(() => {
    globalThis.setTimeout = real
  })
  for (const command of ['PROTOCOLINFO', 'AUTHENTICATE']) {
    for (const raw of ['', '25', '250-PROTOCOLINFO 1\r\n', '250+x\r\n']) {
      await using fake = await startFakeControl(at(command, { raw }))
      const error = await refused(fake)
      assert.ok(error instanceof TransientError)
      assert.match(error.message, new RegExp(`no answer to ${command};`))
    }
    await using gone = await startFakeControl(at(command, undefined))
    assert.ok((await refused(gone)) instanceof TransientError)
  }
})

test('whatever refuses the login is weather with a sentence, but for a wrong password', async () => {
  for (const command of ['PROTOCOLINFO', 'AUTHCHALLENGE', 'AUTHENTICATE']) {
    using dir = tempDir()
    const file = join(dir.path, 'cookie')
    const cookie = randomBytes(32)
    writeFileSync(file, cookie)
    const rest = tor('COOKIE,SAFECOOKIE', file, cookie)
    for (const refusal of [
      '510 Command filtered',
      '512 Wrong',
      '513 No',
      '514 No',
      '515 No',
      '550 No',
      '551 No',
      '552 No',
    ]) {
      await using fake = await startFakeControl((given) => (given.startsWith(command) ? refusal : rest(given)))
      const error = await refused(fake)
      assert.ok(error instanceof TransientError, `${command} ${refusal}: ${error}`)
      assert.match(error.message, /--control-port/)
      const isStale = command === 'AUTHENTICATE' && refusal.startsWith('515')
      assert.match(error.message, isStale ? /refuses its cookie/ : new RegExp(`${command}\\b.* \\(${refusal}\\): .+`))
    }
  }
})

test('who lets in everybody, and is a program of some other user, is not given the onion key', {
  skip: !isRoot && 'needs root, to have a program of another user',
}, async () => {
  const program = `
    process.setgid(65534)
    process.setuid(65534)
    const server = require('node:net').createServer((socket) => {
      socket.on('error', () => {}).on('data', (said) => {
        process.stdout.write(said)
        socket.write(String(said).startsWith('PROTOCOLINFO') ? ${JSON.stringify(`${protocolInfo('NULL')}\r\n`)} : '250 OK\\r\\n')
      })
    })
    server.listen(0, '127.0.0.1', () => process.stdout.write(server.address().port + '\\n'))`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    let said = ''
    child.stdout.on('data', (text) => {
      said += text
    })
    await waitUntil('it listens', () => said.includes('\n'))
    using control = new TorControl({
      control: { host: '127.0.0.1', port: Number(said.split('\n')[0]) },
      password: undefined,
    })
    await assert.rejects(control.connect(), (error: Error) => {
      assert.ok(error instanceof TransientError)
      assert.match(error.message, /lets in everybody, and belongs to a program of user 65534, neither Tor's.* ss -ltnp/)
      return true
    })
    assert.doesNotMatch(said, /AUTHENTICATE|ADD_ONION/)
  } finally {
    child.kill('SIGKILL')
  }
})

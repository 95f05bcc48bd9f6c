/**
 * The container files, built and started for real: images by buildah from the Dockerfiles, containers as compose.yaml and
 * compose.scale.yaml say, by Docker's own runtime, each at its address. bitcoind and PostgreSQL are this machine's, in place
 * of images that only a registry has; Tor is the one that tor.Dockerfile builds, and its network is a private one.
 * What stays untried here, since there is no engine: its seccomp profile, `init`, restarts, its schedule of health checks,
 * and the images of bitcoind and PostgreSQL themselves (the first is expected to give its volumes to its user).
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { type Compose, readCompose } from '../sandbox/compose.ts'
import { type Container, Containers } from '../sandbox/containers.ts'
import { type Image, ImageStore } from '../sandbox/images.ts'
import { PostgresServer } from '../sandbox/postgres.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { waitUntil } from '../sandbox/wait.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const BITCOIND = process.env.FIDELITY_BITCOIND ?? join(ROOT, '.tools/bitcoind/bin/bitcoind')
const skip = process.getuid?.() !== 0 && 'needs root, to have users and networks'
/** What a test has otherwise than an operator. */
const REGTEST = { FIDELITY_TRACKER_NETWORK: 'regtest' }

const filesOf = (...names: string[]) => names.map((name) => join(ROOT, 'deploy', name))
const dockerfiles = ['deploy/Dockerfile', 'deploy/tor.Dockerfile']
const basesOf = (file: string) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^FROM (\S+)/gm)].map(([, name]) => name!)
const [nodeBase] = basesOf('deploy/Dockerfile')

let store: ImageStore
let debian: Image
let tracker: Image
let tor: Image

before(async () => {
  if (skip) return
  store = await ImageStore.with([...new Set(dockerfiles.flatMap(basesOf))])
  const { services } = readCompose(filesOf('compose.yaml'), {})
  for (const { image, build } of Object.values(services)) {
    if (build) await store.build(image, build.dockerfile, join(ROOT, 'deploy', build.context))
  }
  debian = await store.open(nodeBase!)
  tracker = await store.open(services.tracker!.image)
  tor = await store.open(services.tor!.image)
})
after(async () => {
  await store?.[Symbol.asyncDispose]()
})

test('images have exact versions; nothing is published, and only Tor has a way out; what we build keeps a read-only root', () => {
  const compose = readCompose(filesOf('compose.yaml', 'compose.scale.yaml'), { POSTGRES_PASSWORD: 'secret' })
  const fromRegistries = Object.values(compose.services).filter(({ image }) => !image.endsWith(':local'))
  for (const image of [...dockerfiles.flatMap(basesOf), ...fromRegistries.map(({ image }) => image)]) {
    assert.match(image, /^[\w/]+:(\d+\.\d+|bookworm-\d{8})/, image)
  }
  const [, ours] = /^NODE_VERSION=(.+)$/m.exec(readFileSync(join(ROOT, 'deploy/bring-node.sh'), 'utf8'))!
  assert.equal(nodeBase, `node:${ours}-bookworm-slim`)
  const outside = Object.entries(compose.services).filter(([, { networks }]) => 'outside' in networks)
  assert.deepEqual(outside.map(([name]) => name).sort(), ['tor', 'tor-b'])
  assert.equal(compose.networks.inside?.internal, true)
  for (const [name, service] of Object.entries(compose.services)) {
    assert.deepEqual(service.ports, [], name)
    assert.deepEqual(service.cap_drop, ['ALL'], name)
    assert.ok(service.read_only || name === 'bitcoind', name)
  }
})

/** The file's bitcoind, on regtest, with 20 blocks. */
async function startBitcoind(containers: Containers): Promise<Container> {
  const container = await containers.up('bitcoind', {
    image: {
      ...debian,
      entrypoint: ['/opt/bitcoind/bin/bitcoind', '-datadir=/home/bitcoin/.bitcoin'],
      user: { uid: 101, gid: 101 },
    },
    folders: { '/opt/bitcoind': dirname(dirname(BITCOIND)) },
    args: ['-regtest', '-rpcport=8332'],
    givesVolumes: true,
  })
  const client = ['/opt/bitcoind/bin/bitcoin-cli', '-rpccookiefile=/home/bitcoin/cookie/.cookie', '-rpcport=8332']
  await waitUntil('bitcoind has mined', async () => {
    assert.ok(container.isRunning, container.log)
    return (await container.exec(...client, 'generatetodescriptor', '20', 'raw(51)')).code === 0
  })
  return container
}

/** The program in the container, as `docker compose exec tracker fidelity-tracker …`. */
async function verb(container: Container, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await container.exec('fidelity-tracker', ...args)
  assert.equal(code, 0, `${args.join(' ')}: ${stdout}${stderr}${container.log}`)
  return stdout
}

/** Of every process on this machine, containers' included, the words by which it was started. */
function commandLines(): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((pid) => {
    try {
      return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')]
    } catch {
      return [] // has ended meanwhile
    }
  })
}

/** `among`: what only the containers' own command lines have, so that these were looked at. */
function assertInNoCommandLine(secret: string, among: string): void {
  const lines = commandLines()
  assert.ok(lines.some((line) => line.includes(among)))
  assert.deepEqual(
    lines.filter((line) => line.includes(secret)),
    [],
  )
}

/** What the machine itself is answered, without a browser. */
async function fetchOn(containers: Containers, url: string, host?: string): Promise<{ status: number; text: string }> {
  const program = `const { get } = require('node:http')
    get(process.argv[1], { headers: process.argv[2] ? { host: process.argv[2] } : {} }, async (reply) => {
      let text = ''
      for await (const chunk of reply) text += chunk
      console.log(JSON.stringify({ status: reply.statusCode, text }))
    })`
  const { code, stdout, stderr } = await containers.run(process.execPath, '-e', program, url, host ?? '')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

test('compose.yaml: the built tracker is healthy beside bitcoind and the built Tor, at its address, as a user who may nothing; it keeps its address', {
  skip,
}, async () => {
  const compose = readCompose(filesOf('compose.yaml'), {})
  await using containers = await Containers.of(compose)
  await containers.connect('tor')
  await using network = await TorNetwork.start({ clients: 1, before: containers.withAddressesOf('tor') })
  const torContainer = await containers.up('tor', { image: tor, args: network.clientArgs })
  await startBitcoind(containers)
  const up = () => containers.up('tracker', { image: tracker, env: REGTEST })
  let ours = await up()
  const isHealthy = async () => {
    assert.ok(ours.isRunning, ours.log)
    return (await ours.exec(...tracker.healthCheck!)).code === 0
  }
  await waitUntil('takers are answered', isHealthy, { timeoutMs: 120_000, everyMs: 500 })
  assert.equal((await torContainer.exec(...tor.healthCheck!)).code, 0)

  // As docs/operating.md has it.
  const http = `http://${compose.services.tracker!.environment.FIDELITY_TRACKER_HTTP}`
  assert.equal((await fetchOn(containers, `${http}/health/ready`)).status, 200)
  assert.match((await fetchOn(containers, `${http}/`)).text, /<!doctype html>/i)
  assert.equal((await fetchOn(containers, `${http}/health/live`, 'tracker:8081')).status, 200)
  assert.equal((await fetchOn(containers, `${http}/health/live`, 'elsewhere.example')).status, 421)
  const { address } = JSON.parse(await verb(ours, 'status', '--json'))
  assert.match((await ours.exec('fidelity-tracker', 'doctor')).stdout, /, 0 to repair$/m)
  assert.equal(await verb(ours, 'clients'), 'nobody is connected\n')

  // Whom it runs as, and what it may.
  const own = (await ours.exec('cat', '/proc/1/status')).stdout
  for (const line of [/^Uid:\t8080\t8080\t/m, /^CapBnd:\t0+$/m, /^NoNewPrivs:\t1$/m]) assert.match(own, line)
  assert.match((await ours.exec('touch', '/opt/fidelity-tracker/dist/x')).stderr, /Read-only file system/)
  const away = "require('node:net').connect(80, '192.0.2.1').on('error', ({ code }) => console.log(code))"
  assert.equal((await ours.exec('node', '-e', away)).stdout, 'ENETUNREACH\n')
  const cookie = readFileSync(join(containers.volume('bitcoin-cookie'), '.cookie'), 'utf8').split(':')[1]!
  assertInNoCommandLine(cookie, '-rpccookieperms=all')
  const kept = readdirSync(containers.volume('tracker-data')).filter((name) => !/-(wal|shm|journal)$/.test(name))
  assert.deepEqual(kept.sort(), ['lock', 'onion.key', 'tracker.key', 'tracker.sqlite'])

  // What is in the image besides its base.
  const program = join(tracker.rootfs, 'opt/fidelity-tracker')
  for (const name of ['src', 'test', 'scripts', 'node_modules/typescript', 'node_modules/@biomejs']) {
    assert.equal(existsSync(join(program, name)), false, name)
  }
  const megabytes = Number.parseInt(execFileSync('du', ['-sm', program], { encoding: 'utf8' }), 10)
  assert.ok(megabytes < 50, `${megabytes} MB`)

  assert.equal(await ours.stop(), 0)
  ours = await up()
  await waitUntil('takers are answered again', isHealthy, { timeoutMs: 120_000, everyMs: 500 })
  assert.equal(JSON.parse(await verb(ours, 'status', '--json')).address, address)
})

/** PostgreSQL of this machine at the address that the file's has, with its password. */
async function startPostgres(t: TestContext, containers: Containers, compose: Compose): Promise<void> {
  const { environment, networks } = compose.services.postgres!
  const server = await PostgresServer.start(t)
  await server.psql(`ALTER ROLE ${environment.POSTGRES_USER} PASSWORD '${environment.POSTGRES_PASSWORD}'`)
  await containers.connect('postgres')
  const program = `const { connect, createServer } = require('node:net')
    createServer((near) => {
      const far = connect(process.argv[1])
      for (const end of [near, far]) end.on('error', () => {})
      near.pipe(far).pipe(near)
    }).listen(5432, process.argv[2])`
  const socket = join(server.socketDir, `.s.PGSQL.${server.port}`)
  const [command, ...args] = containers.withAddressesOf('postgres', process.execPath, '-e', program, socket)
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command!, ...args, networks.inside!.ipv4_address!], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.after(() => child.kill())
}

test('compose.scale.yaml: two built trackers share PostgreSQL, one onion address and the keys that go with it', {
  skip,
}, async (t) => {
  const POSTGRES_PASSWORD = 'a5'.repeat(32)
  const compose = readCompose(filesOf('compose.yaml', 'compose.scale.yaml'), { POSTGRES_PASSWORD })
  await using containers = await Containers.of(compose)
  await startPostgres(t, containers, compose)
  await containers.up('tor', { image: tor })
  await containers.up('tor-b', { image: tor })
  await startBitcoind(containers)
  const first = await containers.up('tracker', { image: tracker, env: REGTEST })
  await waitUntil('the first has made its keys', () => {
    assert.ok(first.isRunning, first.log)
    return ['onion.key', 'tracker.key'].every((name) => existsSync(join(containers.volume('tracker-data'), name)))
  })
  const copy = await containers.up('copy-key', { image: tracker })
  assert.equal(await copy.exited(), 0, copy.log)
  const second = await containers.up('tracker-b', { image: tracker, env: REGTEST })
  for (const container of [first, second]) {
    await waitUntil('it has read the chain, and has the shared store', async () => {
      assert.ok(container.isRunning, container.log)
      const { code, stdout } = await container.exec('fidelity-tracker', 'status', '--json')
      if (code !== 0) return
      const { synced, checks } = JSON.parse(stdout)
      return synced && checks.shared_store.ok
    })
  }
  const [one, other] = [await verb(first, 'status', '--json'), await verb(second, 'status', '--json')].map((text) =>
    JSON.parse(text),
  )
  assert.equal(one.address, other.address)
  assert.equal(one.nostr.pubkey, other.nostr.pubkey)
  assertInNoCommandLine(POSTGRES_PASSWORD, '172.30.80.13:9051')
})

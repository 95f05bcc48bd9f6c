/** The sandbox's own processes: a maker without Tor, and a bitcoind that ends with whoever started it. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import { asTxid } from '../../src/chain/types.ts'
import { encode } from '../../src/wire/cbor.ts'
import { exchange } from '../../src/wire/client.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import type { MakerSettings } from '../sandbox/maker.ts'
import { offerMessage } from '../sandbox/offer.ts'
import { waitUntil } from '../sandbox/wait.ts'

const script = (name: string) => new URL(`../sandbox/${name}`, import.meta.url).pathname
const HELLO = encode({ TakerHello: null })
const GET_OFFER = encode({ GetOffer: null })

test('a maker on 127.0.0.1 says hello, offers its bond, and closes on anything out of turn', async (t) => {
  const bond = { amountSats: 10_000, lockHeight: 1_051, confHeight: 111, certAddress: '127.0.0.1:6102' }
  const settings: MakerSettings = {
    name: 'x',
    reach: { listenPort: 0 },
    bond: { ...bond, outpoint: `${'ab'.repeat(32)}:0` },
  }
  const maker = spawn(process.execPath, [script('maker.ts'), JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(maker, 'exit')
  t.after(() => maker.kill('SIGKILL'))
  const [line] = await once(maker.stdout, 'data')
  const { reachable } = JSON.parse(String(line)) as { reachable: string }
  const dial = () => connect({ host: '127.0.0.1', port: Number(reachable.split(':')[1]) })
  const say = (socket: ReturnType<typeof dial>, payload: Uint8Array) => exchange(socket, payload, { timeoutMs: 10_000 })

  const taker = dial()
  const hello = encode({ MakerHello: { supported_protocols: ['Legacy', 'Taproot'] } })
  assert.deepEqual(await say(taker, HELLO), Buffer.from(hello))
  const key = bondKey('x')
  const offer = encode(offerMessage({ ...bond, outpoint: { txid: asTxid('ab'.repeat(32)), vout: 0 }, key }))
  assert.deepEqual(await say(taker, GET_OFFER), Buffer.from(offer))
  await assert.rejects(say(taker, GET_OFFER), /closed/)
  for (const payload of [GET_OFFER, encode('TakerHello'), Buffer.of(0xff)]) {
    await assert.rejects(say(dial(), payload), /closed/, Buffer.from(payload).toString('hex'))
  }
  maker.stdin.end()
  assert.deepEqual(await ended, [0, null], 'it ends with its parent')
})

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`bitcoind ends with a test that ends by ${signal}`, async () => {
    const source = `
      import { Regtest } from ${JSON.stringify(script('regtest.ts'))}
      const node = await Regtest.start({ blocks: 0 })
      process.stdout.write(JSON.stringify({ dataDir: node.dataDir, pid: node.pid }))
      setInterval(() => {}, 1_000)`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(holder.stdout, 'data')
    const { dataDir, pid } = JSON.parse(String(line)) as { dataDir: string; pid: number }
    try {
      assert.match(commandOf(pid) ?? '', /bitcoind/)
      const ended = once(holder, 'exit')
      holder.kill(signal)
      await ended
      await waitUntil('bitcoind has ended', () => commandOf(pid) === undefined)
    } finally {
      rmSync(dataDir, { recursive: true, force: true })
    }
  })
}

/** The command line of a process that lives; undefined when there is none (any more). */
function commandOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') || undefined
  } catch {
    return undefined
  }
}

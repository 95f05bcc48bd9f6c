/** Two trackers that know each other by their onions alone: asked, compared, verified and watched through Tor. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatHostPort } from '../../src/tor/address.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { runVerb, Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { onionHost } from '../support/onions.ts'

interface Row {
  address: string
  source: string
  agrees: boolean | null
  compared_height: number | null
}

test('over Tor: one is configured, the other learnt from its Ping; both agree, through a reorg', async () => {
  await using tor = await TorNetwork.start({ clients: 2 })
  await using node = await Regtest.start()
  const flags = (client: number, ...more: string[]) => {
    const { control, socks } = tor.clients[client]!
    const ports = ['--control-port', formatHostPort(control), '--socks-port', formatHostPort(socks)]
    return { args: [...ports, '--tracker-interval', '2', '--probe-timeout', '15', ...more] }
  }
  const published = async (tracker: Tracker) => {
    const line = await waitUntil('it is published', () => tracker.logged('onion service published'), {
      timeoutMs: 90_000,
    })
    return String(line.onionAddress)
  }
  await using learner = await Tracker.start(node, flags(0))
  const learners = await published(learner)
  await using asker = await Tracker.start(node, flags(1, '--trackers', learners))
  const askers = await published(asker)
  for (const name of ['a', 'b'])
    await node.fundBond({ key: bondKey(name), format: 'D', address: `${onionHost(name)}:21` })
  await node.mine(1)

  const rowOf = async (tracker: Tracker, address: string) => {
    const shown = await runVerb(['trackers', '--json', '--network', 'regtest', '--datadir', tracker.dataDir])
    return (JSON.parse(shown.stdout) as Row[]).find((row) => row.address === address)
  }
  const bothAgree = async () => {
    const height = await node.height()
    await waitUntil(
      `both agree at block ${height}`,
      async () => {
        const rows = await Promise.all([rowOf(asker, learners), rowOf(learner, askers)])
        return rows.every((row) => row?.agrees === true && row.compared_height === height) && rows
      },
      { timeoutMs: 120_000, everyMs: 500 },
    )
  }
  await bothAgree()
  assert.equal((await rowOf(asker, learners))!.source, 'configured')
  assert.equal((await rowOf(learner, askers))!.source, 'learnt')
  await node.replaceTip({ drop: 1, mine: 2 })
  await bothAgree()

  const { socks } = tor.clients[1]!
  const verified = await runVerb([
    ...['verify', learners, '--network', 'regtest', '--rpc', `127.0.0.1:${node.rpcPort}`],
    ...['--cookie-file', node.cookieFile, '--datadir', asker.dataDir, '--socks-port', formatHostPort(socks)],
  ])
  assert.deepEqual([verified.code, /agrees\n$/.test(verified.stdout)], [0, true], verified.stdout + verified.stderr)
  const asked = await runVerb(['query', learners, 'trackers', '--socks-port', formatHostPort(socks)])
  assert.match(asked.stdout, new RegExp(`${askers} .*agrees`))
})

/** The metrics that the monitoring kit and the manual name are those that a running daemon gives. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freePorts } from '../sandbox/ports.ts'
import { Regtest } from '../sandbox/regtest.ts'
import { TorNetwork } from '../sandbox/tor-network.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { METRICS, PROCESS_METRICS, TOR_METRICS } from '../support/metric-names.ts'

test('every metric of the contract is on the metrics page, with its labels and no others', async () => {
  await using node = await Regtest.start({ blocks: 5 })
  await using tracker = await Tracker.start(node, { http: true })
  await tracker.caughtUp(node)
  const page = await (await fetch(`http://127.0.0.1:${tracker.httpPort}/metrics`)).text()
  const typeOf = new Map([...page.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [name!, type!]))
  const ours = [...typeOf.keys()].filter((name) => name.startsWith('fidelity_tracker_'))
  assert.deepEqual(ours.map((name) => name.replace('fidelity_tracker_', '')).sort(), Object.keys(METRICS).sort())
  for (const [name, { labels = [], isHistogram = false }] of Object.entries(METRICS)) {
    assert.equal(typeOf.get(`fidelity_tracker_${name}`) === 'histogram', isHistogram, name)
    const sample = new RegExp(`^fidelity_tracker_${name}(?:_sum)?\\{([^}]*)\\}`, 'm').exec(page)?.[1]
    if (sample !== undefined)
      assert.deepEqual(
        [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label),
        labels,
        name,
      )
  }
  for (const name of PROCESS_METRICS) assert.ok(typeOf.has(name), name)
})

test('a real Tor tells of our service what the dashboard draws, and the tracker how old its descriptor is', async () => {
  const [port] = await freePorts(1)
  const extraTorrc = `MetricsPort 127.0.0.1:${port}\\nMetricsPortPolicy accept 127.0.0.1`
  await using tor = await TorNetwork.start({ clients: 1, extraTorrc })
  await using node = await Regtest.start({ blocks: 5 })
  const { control, socks, password } = tor.clients[0]!
  await using tracker = await Tracker.start(node, {
    http: true,
    args: [
      ...['--control-port', `${control.host}:${control.port}`, '--socks-port', `${socks.host}:${socks.port}`],
      ...['--probe-interval', '10'],
    ],
    env: { FIDELITY_TRACKER_TOR_AUTH_PASSWORD: password },
  })
  await tracker.said('ready')
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const address = await waitUntil('the address is told', () => tracker.status()?.onion.address)
  const onion = address.replace(/\.onion:\d+$/, '')
  for (const [name, { labels, isHistogram = false }] of Object.entries(TOR_METRICS)) {
    const sample = new RegExp(`^${name}${isHistogram ? '_bucket' : ''}\\{(onion="${onion}"[^}]*)\\} `, 'm').exec(
      page,
    )?.[1]
    assert.ok(sample !== undefined, `${name} of ${onion} in ${page}`)
    const names = [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label)
    assert.deepEqual(names, isHistogram ? [...labels, 'le'] : labels, name)
  }
  const own = await (await fetch(`http://127.0.0.1:${tracker.httpPort}/metrics`)).text()
  const age = /^fidelity_tracker_onion_descriptor_age_seconds (\S+)$/m.exec(own)?.[1]
  assert.ok(age !== undefined && Number(age) < 300, `age ${age}`)
  // The canary has been served: what is drawn isn't always 0.
  assert.match(page, new RegExp(`^tor_hs_rdv_num_total\\{onion="${onion}"\\} [1-9]`, 'm'))
})

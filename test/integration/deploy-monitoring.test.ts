/** The metrics that the monitoring kit and the manual name are those that a running daemon gives. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { METRICS, PROCESS_METRICS } from '../support/metric-names.ts'

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

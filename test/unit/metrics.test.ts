/** Metrics that are not one field of a row: what they say when, and that they say nothing where nothing is known. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Core } from '../../src/core.ts'
import { Meters } from '../../src/metrics.ts'
import { newStatusCells, type StatusCells } from '../../src/views/status.ts'

/** Of a core with these cells; whatever else a metric would read is not scraped here. */
function scraperOf(cells: StatusCells, clock: { monotonicMs: () => number }) {
  const meters = new Meters()
  meters.expose({ cells, clock, config: { nostr: { relays: [] } } } as unknown as Core)
  return async (name: string) => {
    const text = await meters.registry.getSingleMetricAsString(`fidelity_tracker_${name}`)
    const value = /^fidelity_tracker_\w+ (\S+)$/m.exec(text)?.[1]
    return value === undefined ? undefined : Number(value)
  }
}

test('the age of the descriptor grows since its upload, and has no value before one', async () => {
  const cells = newStatusCells(true)
  let nowMs = 5_000
  const scrape = scraperOf(cells, { monotonicMs: () => nowMs })
  assert.equal(await scrape('onion_descriptor_age_seconds'), undefined)
  cells.descriptor = { uploadedMs: 5_000 }
  assert.equal(await scrape('onion_descriptor_age_seconds'), 0)
  nowMs += 7_200_000
  assert.equal(await scrape('onion_descriptor_age_seconds'), 7_200)
  cells.descriptor.uploadedMs = nowMs
  assert.equal(await scrape('onion_descriptor_age_seconds'), 0)
})

test('publishing again is counted from nothing', async () => {
  const cells = newStatusCells(true)
  const scrape = scraperOf(cells, { monotonicMs: () => 0 })
  assert.equal(await scrape('onion_republished_total'), 0)
  cells.republished = 2
  assert.equal(await scrape('onion_republished_total'), 2)
  assert.equal(await scrape('onion_republished_total'), 2, 'however often it is scraped')
})

test('the canary is up while it is green alone, and says nothing without Tor', async () => {
  const cells = newStatusCells(true)
  const scrape = scraperOf(cells, { monotonicMs: () => 0 })
  assert.equal(await scrape('canary_up'), undefined)
  for (const [canary, value] of [
    [{ kind: 'untried', detail: '' }, 0],
    [{ kind: 'green', detail: '', latencyMs: 1 }, 1],
    [{ kind: 'red', detail: '' }, 0],
    [{ kind: 'impostor', detail: '' }, 0],
  ] as const) {
    cells.canary = canary
    assert.equal(await scrape('canary_up'), value, canary.kind)
  }
})

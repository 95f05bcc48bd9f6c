/** The monitoring kit asks only for what the tracker offers, and its alerts fire when they should and else are silent. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { METRICS, PROCESS_METRICS, TOR_METRICS } from '../../support/metric-names.ts'

const DEPLOY = new URL('../../../deploy/', import.meta.url)
const ALERTS = new URL('prometheus/alerts.yml', DEPLOY)
const DASHBOARD = new URL('grafana/fidelity-tracker.json', DEPLOY)

const HISTOGRAM = ['_bucket', '_sum', '_count']

/** Ours and Tor's, by the names that Prometheus has. */
const KNOWN: Record<string, { labels?: string[]; isHistogram?: boolean }> = {
  ...Object.fromEntries(Object.entries(METRICS).map(([name, metric]) => [`fidelity_tracker_${name}`, metric])),
  ...TOR_METRICS,
}

/** What Prometheus adds to a scrape, and what every Node process tells. */
const OTHERS = ['up', ...PROCESS_METRICS]
/** Labels that a scrape puts on everything. */
const SCRAPE_LABELS = ['instance', 'job', 'le']

/** Words that stand free; functions are told by their parenthesis. */
const PROMQL_WORDS = /^(and|or|unless|sum|count)$/

/** Metric → labels used with it, of one expression. */
function metricsIn(expr: string): Map<string, string[]> {
  const metrics = new Map<string, string[]>()
  const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/,\s*/))
  const bare = expr.replace(/\bby \([^)]*\)/g, '').replace(/\[[^\]]*\]/g, '')
  for (const [, name, matchers] of bare.matchAll(/\b([a-z_]\w*)\b(?:\{([^}]*)\})?(?!\s*\()/g)) {
    if (PROMQL_WORDS.test(name!)) continue
    const labels = [...(matchers ?? '').matchAll(/(\w+)\s*[=!]/g)].map(([, label]) => label!)
    metrics.set(name!, [...labels, ...grouped])
  }
  return metrics
}

function assertExists(expr: string): void {
  const metrics = metricsIn(expr)
  assert.ok(metrics.size > 0, `no metric in ${expr}`)
  for (const [name, labels] of metrics) {
    if (OTHERS.includes(name)) continue
    const base = HISTOGRAM.reduce(
      (text, suffix) => (text.endsWith(suffix) ? text.slice(0, -suffix.length) : text),
      name,
    )
    const known = KNOWN[base]?.isHistogram ? KNOWN[base] : undefined
    const metric = KNOWN[name]?.isHistogram ? undefined : (KNOWN[name] ?? known)
    assert.ok(metric, `${name} is no metric of ours or of Tor's: ${expr}`)
    for (const label of labels) {
      assert.ok([...SCRAPE_LABELS, ...(metric.labels ?? [])].includes(label), `${name} has no label ${label}: ${expr}`)
    }
  }
}

function alertExpressions(): { name: string; expr: string }[] {
  const rules = readFileSync(ALERTS, 'utf8')
    .split(/- alert: /)
    .slice(1)
  return rules.map((rule) => ({ name: rule.split('\n')[0]!, expr: /^ *expr: (.*)$/m.exec(rule)![1]! }))
}

test('the alerts name only metrics and labels that exist', () => {
  const alerts = alertExpressions()
  assert.equal(alerts.length, 18)
  for (const { expr } of alerts) assertExists(expr)
})

test('the dashboard names only metrics and labels that exist, and shows every one that is known', () => {
  const { panels, templating } = JSON.parse(readFileSync(DASHBOARD, 'utf8'))
  const expressions: string[] = panels.flatMap(({ type, targets }: { type: string; targets?: { expr: string }[] }) =>
    type === 'row' ? [] : targets!.map(({ expr }) => expr),
  )
  for (const expr of expressions) assertExists(expr)
  assert.match(templating.list[1].query.query, /^label_values\(fidelity_tracker_synced, instance\)$/)
  assert.match(templating.list[2].query.query, /^label_values\(tor_hs_intro_established_count, onion\)$/)
  for (const name of Object.keys(KNOWN)) {
    assert.ok(
      expressions.some((expr) => new RegExp(`\\b${name}(_bucket)?\\b`).test(expr)),
      name,
    )
  }
  const ids = panels.map(({ id }: { id: number }) => id)
  assert.equal(new Set(ids).size, ids.length)
  const places = panels.map(({ gridPos: { x, y } }: { gridPos: { x: number; y: number } }) => `${x} ${y}`)
  assert.equal(new Set(places).size, places.length, 'no panel is drawn over another')
})

test('a name that does not exist is noticed', () => {
  assert.throws(() => assertExists('fidelity_tracker_sync == 0'), /no metric of ours/)
  assert.throws(() => assertExists('fidelity_tracker_bonds{kind="live"}'), /no label kind/)
  assert.throws(() => assertExists('sum by (agrees) (fidelity_tracker_bonds)'), /no label agrees/)
  assert.throws(() => assertExists('rate(node_load1[5m]) > 1'), /no metric of ours/)
  assert.throws(() => assertExists('tor_hs_intro_count'), /no metric of ours/)
  assert.throws(() => assertExists('sum by (reason) (tor_hs_intro_num_total)'), /no label reason/)
  assert.throws(() => assertExists('tor_hs_intro_circ_build_time'), /no metric of ours/)
  assert.throws(() => assertExists('fidelity_tracker_bonds_bucket'), /no metric of ours/)
})

test('promtool finds the configuration right, with the rules it names', () => {
  const config = new URL('prometheus/prometheus.yml', DEPLOY).pathname
  assert.match(execFileSync('promtool', ['check', 'config', config], { encoding: 'utf8' }), /SUCCESS: 18 rules found/)
})

test('promtool finds the rules right, and each alert fires on its own trouble alone', () => {
  const check = execFileSync('promtool', ['check', 'rules', ALERTS.pathname], { encoding: 'utf8' })
  assert.match(check, /SUCCESS: 18 rules found/)
  const cases = new URL('alerts.test.yml', import.meta.url).pathname
  const run = execFileSync('promtool', ['test', 'rules', cases], { encoding: 'utf8' })
  assert.match(run, /SUCCESS/)
})

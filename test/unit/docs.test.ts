/** What the pages quote is the program's: messages, a row in JSON, a signature that is checked as a receiver would. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { webhookSignature } from '../../src/events/webhook.ts'
import { ROUTES } from '../../src/http/routes.ts'
import { Secret } from '../../src/secret.ts'
import { makerSchema, offerSchema } from '../../src/views/schemas/makers.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const page = (name: string) => readFileSync(join(ROOT, 'docs', name), 'utf8')

test('messages that troubleshooting.md quotes are in the source, part by part', () => {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  // bitcoind's and SQLite's own words, which are passed on.
  const others = ['file is not a database']
  const source = [...others, ...sources.map((name) => readFileSync(join(ROOT, 'src', name), 'utf8'))]
    .join('\n')
    .replaceAll("\\'", "'")
  const text = page('troubleshooting.md').split('\n## Alerts')[0]!
  const cells = [...text.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, cell]) => cell!.split(/`, `/))
  const bold = [...text.matchAll(/\*\*"([^*"]+)"(?:, "([^*"]+)")?/g)].flatMap(([, ...quotes]) => quotes.filter(Boolean))
  const quotes = [...cells, ...bold].map((quote) => quote!.replaceAll('`', ''))
  assert.ok(quotes.length > 30, String(quotes.length))
  // A part begins a line of `status` with the name of what it is about, or has words of ours around a value.
  const parts = quotes
    .flatMap((quote) => quote.split('…'))
    .map((part) => part.replace(/^\W*(?:[a-z ]+: )?(?:with )?/, '').trim())
  assert.deepEqual(
    parts.filter((part) => part.length > 5 && !source.includes(part.replace(/["; ,]+$/, ''))),
    [],
  )
})

test('http.md has every path', () => {
  const listed = [...page('http.md').matchAll(/^\| `(\/[^`]*)` \|/gm)].map(([, path]) =>
    path!.replace(/:(\w+)/g, '{$1}'),
  )
  assert.deepEqual(
    ROUTES.map(({ path }) => path).filter((path) => !listed.includes(path)),
    [],
  )
})

test('the row of a maker in http.md has the fields of the schema, in their order', () => {
  const [, json] = /^(\{"height":215[\s\S]*?\})\n```$/m.exec(page('http.md'))!
  const [maker] = JSON.parse(json!.replaceAll('\n', '')).makers
  assert.deepEqual(Object.keys(maker), Object.keys(makerSchema.shape))
  assert.deepEqual(Object.keys(maker.offer), Object.keys(offerSchema.shape))
})

test('the check in webhooks.md takes what we sign, and nothing else', async () => {
  const [, snippet] = /^```js\n([\s\S]*?)^```$/m.exec(page('webhooks.md'))!
  const { isFromTracker } = await import(
    `data:text/javascript,${encodeURIComponent(`${snippet}export { isFromTracker }`)}`
  )
  const [secret, body] = ['correct horse', '{"event":"ready","of":"ü"}']
  const signed = (t: number, of = body) => `t=${t},v1=${webhookSignature(new Secret(secret), t, of)}`
  const nowS = Math.floor(Date.now() / 1_000)
  assert.equal(isFromTracker(signed(nowS), body, secret), true)
  assert.equal(isFromTracker(signed(nowS), Buffer.from(body), secret), true)
  assert.equal(isFromTracker(signed(nowS), `${body} `, secret), false)
  assert.equal(isFromTracker(signed(nowS), body, 'another'), false)
  assert.equal(isFromTracker(signed(nowS - 400), body, secret), false, 'played again')
  for (const header of [undefined, '', 't=1', `t=${nowS},v1=ab`])
    assert.equal(isFromTracker(header, body, secret), false)
})

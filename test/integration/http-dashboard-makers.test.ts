/**
 * The makers on the dashboard, in a real Chromium: their table (search, filters, sort, all kept in the address), a maker's own
 * page, and what an attack would cost. Makers on this machine are probed by the real daemon; larger markets are put into its
 * replies. Screenshots as in http-dashboard.test.ts.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import type { MakerRow } from '../../src/views/schemas/makers.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import { type MakerPlan, type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { closePage, openBrowser, openPage } from '../support/browser.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const FAST = ['--no-tor', '--allow-test-addresses', '--probe-interval', '1', '--probe-timeout', '30']

const WIDTHS = [390, 768, 1440, 2560]
const THEMES = ['light', 'dark'] as const

/** Who is there, and how it behaves; `old` announces no lock, `shut` does not answer, `gone` has spent its bond. */
const MAKERS: Record<string, { plan?: MakerPlan; format?: 'A' | 'B' }> = {
  honest: {},
  dear: { plan: { terms: { base_fee: 9_000 } } },
  liar: { plan: { lie: 'cert-hash' } },
  old: { plan: { release: '0.1.3' }, format: 'A' },
  shut: { plan: { manners: 'rubbish' } },
}

let screenshots: string
let browser: Browser
let node: Regtest
let tracker: Tracker
let url: string
/** The youngest bond of each, and the other bond of `honest`. */
const bonds = new Map<string, FundedBond>()
let second: FundedBond
const servers: MakerServer[] = []

before(async () => {
  screenshots = process.env.SANDBOX_SCREENSHOTS ?? mkdtempSync(join(tmpdir(), 'ft-screenshots-'))
  mkdirSync(screenshots, { recursive: true })
  browser = await openBrowser()
  node = await Regtest.start({ blocks: 110 })
  const names = [...Object.keys(MAKERS), 'gone']
  const ports = await freePorts(names.length)
  const fund = (name: string, amountSats: number, lockBlocks?: number, key = bondKey(name)) => {
    const address = `127.0.0.1:${ports[names.indexOf(name)]}`
    return node.fundBond({
      key,
      format: MAKERS[name]?.format ?? 'B',
      address,
      amountSats,
      ...(lockBlocks && { lockBlocks }),
    })
  }
  second = await fund('honest', 20_000, undefined, bondKey('honest', 1))
  bonds.set('gone', await fund('gone', 50_000, 1))
  const confHeight = (await node.height()) + 1
  for (const [i, name] of Object.keys(MAKERS).entries()) bonds.set(name, await fund(name, 5_000_000 + 10_000 * i))
  await node.mine(2)
  await node.spendBond(bonds.get('gone')!)
  await node.mine(1)
  for (const [name, { plan }] of Object.entries(MAKERS)) {
    const bond = { ...bonds.get(name)!, confHeight, certAddress: addressOf(name) }
    const listenPort = ports[names.indexOf(name)]!
    servers.push(
      await serveMaker({ ...plan, listenPort, bond, otherKey: bondKey(name, 1), pongAddress: addressOf(name) }),
    )
  }
  tracker = await Tracker.start(node, { args: FAST, http: true })
  await tracker.caughtUp(node)
  url = `http://127.0.0.1:${tracker.httpPort}/`
  await waitUntil(
    'all were asked',
    async () => {
      const rows = new Map((await makers()).map((row) => [row.address, row]))
      const at = (name: string) => rows.get(addressOf(name))!
      const isKnown = at('honest').proven && at('dear').offer && at('liar').proof_failed && at('shut').reach === 'down'
      return Boolean(isKnown && at('honest').probes > 3)
    },
    { timeoutMs: 60_000, everyMs: 300 },
  )
})
after(async () => {
  await browser?.close()
  await tracker?.[Symbol.asyncDispose]()
  for (const server of servers) await server[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

async function makers(): Promise<MakerRow[]> {
  return (await ask(tracker.httpPort!, '/api/v1/makers?limit=1000')).json.makers
}

const addressOf = (name: string) => bonds.get(name)!.address
const text = (page: Page, selector: string) => page.locator(selector).innerText()
const shown = (page: Page) => page.waitForSelector('body[data-state="shown"]')
const hash = (page: Page) => page.evaluate<string>('decodeURIComponent(location.hash)')
const focused = (page: Page) =>
  page.evaluate<string>('document.activeElement.closest("tr")?.dataset.address || document.activeElement.id')
const rowsShown = (page: Page) => page.locator('#makers-table tr[data-address]').count()

async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  const { violations } = await page.evaluate<{ violations: { id: string; help: string; nodes: { html: string }[] }[] }>(
    'axe.run()',
  )
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 160))}`)
}

async function assertFits(page: Page): Promise<void> {
  const surplus = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
  assert.ok(surplus <= 0, `nothing sticks out sideways: ${surplus} px`)
  const cut = await page.evaluate<number>(
    'Math.max(0, ...[...document.querySelectorAll(".panel")].map((one) => one.scrollWidth - one.clientWidth))',
  )
  assert.ok(cut <= 0, `nothing is cut off at ${page.viewportSize()?.width} px: ${cut} px`)
}

/** A market of so many, in place of the real one: onion addresses of all kinds of makers. */
async function withMarket(page: Page, count: number): Promise<void> {
  await page.route(/\/api\/v1\/makers\?/, async (route) => {
    const response = await route.fetch()
    const body = await response.json()
    const [row] = (body.makers as MakerRow[]).filter(({ offer }) => offer !== null)
    body.total = count
    body.makers = Array.from({ length: count }, (_, i) => {
      const chance = ((i * 7919) % 1000) / 1000
      const value = Math.round(9e6 / (i + 1) ** 1.1)
      return {
        ...row,
        address: `${onionHost(`market-${i}`)}:21`,
        value,
        total_amount: 20_000_000 - 17_000 * i,
        blocks_left: Math.round(100 + 25_000 * chance),
        format: i % 5 === 4 ? 'C' : 'D',
        ...(i % 5 === 4
          ? { bonds_today: 0, today: false, today_refusals: ['text-format'] }
          : { bonds_today: 1, today: true, today_refusals: [] }),
        proven: i % 7 !== 3,
        proof_failed: i % 7 === 3 ? 'cert-hash' : null,
        reach: chance > 0.9 ? 'down' : 'up',
        probes: 4_100,
        uptime_ppm: Math.round(1e6 * (1 - chance ** 6)),
        ...(i % 11 === 10 ? { offer: null } : {}),
        pick:
          i < 2
            ? { chance_ppm: 990_000 - 9_000 * i, place: i + 1, obstacle: null, text: '' }
            : { chance_ppm: 0, place: i + 1, obstacle: 'others-first', text: '' },
      }
    })
    await route.fulfill({ json: body })
  })
}

const MARKETS = [
  ...([
    [0, 390],
    [0, 1440],
    [4, 768],
    [4, 2560],
  ] as const),
  ...([
    [150, 390],
    [150, 1440],
    [1_000, 2560],
    [1_000, 390],
  ] as const),
] as const

test('small, large and very large markets fit every width, in both themes, without faults', async (t) => {
  t.diagnostic(`screenshots: ${screenshots}`)
  for (const [i, [count, width]] of MARKETS.entries()) {
    const colorScheme = THEMES[i % 2]!
    const viewport = { width, height: width < 500 ? 844 : 1000 }
    const { page, problems } = await openPage(browser, url, { viewport, colorScheme }, (page) =>
      withMarket(page, count),
    )
    await page.waitForSelector(`body[data-state="${count === 0 ? 'empty' : 'shown'}"]`)
    await assertFits(page)
    if (count > 0) await page.waitForSelector('#sybil-rows tr')
    if (count === 4 || count === 150) assert.deepEqual(await accessibilityFaults(page), [])
    if (count > 4) {
      const downShown = await page.locator('#down-rows tr').count()
      const down = Number((await text(page, '#down-note')).split(' ')[0])
      assert.equal(down, count === 150 ? 14 : 99, 'those that are down stand apart, counted')
      assert.ok(downShown > 0 && downShown <= down)
      assert.equal(await page.locator('#makers-rows tr').count(), width < 761 ? 10 : 25)
    }
    const whole = { path: join(screenshots, `makers-${count}-${width}-${colorScheme}.png`), fullPage: true }
    await page.screenshot(whole)
    assert.deepEqual(problems, [])
    await closePage(page)
  }
})

test('sort, filters and search stand in the address: loaded, gone back to, and told in words', async () => {
  const { page, problems } = await openPage(browser, `${url}#sort=fee&up=1&q=127.0.0.1`)
  await shown(page)
  assert.equal(await page.locator('th[data-key="fee"]').getAttribute('aria-sort'), 'ascending')
  assert.equal(await page.locator('#filter-up').getAttribute('aria-pressed'), 'true')
  assert.equal(await page.locator('#search').inputValue(), '127.0.0.1')
  assert.equal(await rowsShown(page), 4)
  assert.match(await text(page, '#makers-note'), /^4 of 5 makers match/)
  const order = await page.locator('#makers-rows tr').evaluateAll((rows) => rows.map((row) => row.dataset.address))
  assert.ok(order.indexOf(addressOf('honest')) < order.indexOf(addressOf('dear')), 'who asks least stands first')

  await page.getByRole('button', { name: 'Proven' }).click()
  assert.equal(await hash(page), '#q=127.0.0.1&sort=fee&up=1&proven=1')
  const proven = (await makers()).filter((row) => row.proven && row.reach === 'up').length
  assert.equal(await rowsShown(page), proven)
  await page.locator('#filter-format').selectOption('A')
  assert.equal(await rowsShown(page), (await makers()).filter((row) => row.proven && row.format === 'A').length)
  await page.goBack()
  assert.equal(await rowsShown(page), proven)
  await page.goBack()
  assert.equal(await page.locator('#filter-proven').getAttribute('aria-pressed'), 'false')
  await page.goForward()
  assert.equal(await rowsShown(page), proven)
  await page.getByRole('button', { name: 'Show all' }).click()
  assert.equal(await hash(page), '#sort=fee')
  assert.equal(await rowsShown(page), 5)
  await page.getByRole('button', { name: 'Found today' }).click()
  assert.match(await text(page, '#makers-empty'), /Nothing found\s+No maker is like that/)
  await page.goBack()

  // What is typed is one step, however long.
  await page.locator('#search').pressSequentially('nobody-at-all')
  assert.match(await text(page, '#makers-empty'), /Nothing found.*“nobody-at-all”/s)
  await page.goBack()
  assert.equal(await hash(page), '#sort=fee')
  assert.equal(await page.locator('#search').inputValue(), '')

  const old = await page.locator(`[data-address="${addressOf('old')}"]`).innerText()
  assert.match(old, /–\s*no lock announced/, 'format A announces no lock: its value is not 0')
  const shut = page.locator(`#down-rows [data-address="${addressOf('shut')}"]`)
  assert.equal(await shut.count(), 1)
  assert.match(await text(page, '#down-note'), /^1 maker down/)
  const honest = await page.locator(`[data-address="${addressOf('honest')}"]`).innerText()
  assert.match(
    honest,
    /2 bonds.*proven.*20 ?.?.*sats.*\d+ days\s*[\d,]+ blocks, \w{3} \d+, \d{4}.*% a block.*of \d+ probes/s,
  )
  assert.match(await page.locator(`[data-address="${addressOf('liar')}"]`).innerText(), /failed\s*cert-hash/)
  assert.match(await text(page, '#value-legend'), /1\.5 % a year.*power 1\.3/)
  assert.deepEqual(problems, [])
  await closePage(page)
})

test('every bond’s outpoint is found, and what is not in the list says why', async () => {
  const { page, problems } = await openPage(browser, url)
  await shown(page)
  const search = page.locator('#search')
  await search.fill(`${second.txid}:0`)
  assert.equal(await rowsShown(page), 1, 'also of a bond that is not the best')
  await search.fill(`  HTTP://${addressOf('honest')}/ `)
  assert.equal(await rowsShown(page), 1, 'as it is pasted')
  await search.fill(addressOf('gone'))
  await page.waitForSelector('#makers-empty:has-text("was spent at block")')
  assert.match(await text(page, '#makers-empty'), /^Not in the list/)
  assert.deepEqual(await accessibilityFaults(page), [])
  await page.screenshot({ path: join(screenshots, 'makers-why.png'), fullPage: true })
  await search.fill(bonds.get('gone')!.txid.toUpperCase())
  await page.waitForSelector('#makers-empty:has-text("A bond that is not in the list")')
  await page.getByRole('link', { name: 'Everything that is known' }).click()
  await page.waitForSelector('.bond[data-state="spent"]')
  assert.match(await text(page, '#maker-lede'), /Not listed: none of its bonds is live/)
  await page.goBack()
  await search.fill(`${onionHost('nobody')}:21`)
  await page.waitForSelector('#makers-empty:has-text("no transaction announced")')
  await search.fill('00'.repeat(32))
  await page.waitForSelector('#makers-empty:has-text("No such bond")')
  assert.deepEqual(
    problems.filter((problem) => !problem.includes('404')), // the browser tells of each answer "not found"
    [],
  )
  await closePage(page)
})

test('a maker’s page: opened and left by keyboard, mouse and link, it tells all that is known', async () => {
  const { page, problems } = await openPage(browser, `${url}#sort=amount`)
  await shown(page)
  const link = page.locator(`[data-address="${addressOf('honest')}"] a`)
  await link.focus()
  await page.keyboard.press('Enter')
  await page.waitForSelector('.bond')
  assert.equal(await hash(page), `#maker=${addressOf('honest')}`)
  assert.equal(await focused(page), 'maker-name')
  assert.match(await page.title(), /^Maker 127/)
  assert.ok(await page.locator('#makers').isHidden())
  await page.keyboard.press('Escape')
  await page.waitForSelector('#makers:visible')
  assert.equal(await hash(page), '#sort=amount', 'the table is as it was left')
  assert.equal(await focused(page), addressOf('honest'), 'the focus comes back to the row')
  await page.locator(`[data-address="${addressOf('honest')}"] td.value`).click()
  await page.waitForSelector('#maker:visible')
  await page.getByRole('link', { name: 'All makers' }).click()
  await page.waitForSelector('#makers:visible')
  await page.goBack()
  await page.waitForSelector('.bond')
  await closePage(page)

  for (const [i, width] of WIDTHS.entries()) {
    const options = { viewport: { width, height: 1000 }, colorScheme: THEMES[i % 2]! }
    const { page, problems } = await openPage(browser, `${url}#maker=${addressOf('honest')}`, options)
    await page.waitForSelector('.strip.latency')
    const all = await text(page, '#maker')
    for (const said of [
      /Listed: takers that ask this tracker find it/,
      /last answer (just now|\d+ minutes? ago)/,
      /of \d+ probes in 30 days/,
      /median of the last answers/,
      new RegExp(`${bonds.get('honest')!.txid}`),
      new RegExp(second.txid),
      /Confirmed at\s+block \d+\s+\w{3} \d+, \d{4}/,
      /Locked until\s+block [\d,]+\s+\w{3} \d+, \d{4}/,
      /sats¹·³/,
      /\d+ answered, \d+ did not/,
      /For the time\s+0\.0001 %/,
      /Limits\s+10,000 to 1,000,000 sats/,
      /Protocols\s+Legacy, Taproot/,
      /Today’s rules\s+They skip its announcement: the announcement is in an older format/,
      /An offer has proven that the bond is its own/,
      /Takers of today do not find it/,
      /No relay is watched/,
    ])
      assert.match(all, said)
    await assertFits(page)
    if (i % 2 === 0) assert.deepEqual(await accessibilityFaults(page), [])
    await page.screenshot({ path: join(screenshots, `maker-${width}-${options.colorScheme}.png`), fullPage: true })
    assert.deepEqual(problems, [])
    await closePage(page)
  }
  const liar = await openPage(browser, `${url}#maker=${addressOf('liar')}`)
  await liar.page.waitForSelector('#maker:has-text("Check cert-hash failed: the certificate is for another address")')
  await liar.page.goto(`${url}#maker=${onionHost('nobody')}:21`)
  await liar.page.waitForSelector('#maker:has-text("Not listed: no bond announces it")')
  await closePage(liar.page)
  assert.deepEqual(problems, [])
})

test('what an attack would cost is told for the makers and the chance that are chosen', async () => {
  const { page } = await openPage(browser, url)
  await page.waitForSelector('#sybil-rows tr')
  assert.match(await text(page, '#sybil-today'), /pick makers by address, whatever their bonds are worth/)
  const costOf = async () => Number(/lock ([\d.]+) BTC for 180 days/.exec(await text(page, '#sybil-value'))![1])
  // No test address is one that takers accept: nobody is in the way.
  assert.equal(await costOf(), 0.0002)
  await page.locator('#sybil-makers').selectOption('4')
  await page.waitForSelector('#sybil-value:has-text("all 4 makers of a swap with a chance of 50 %")')
  assert.equal(await page.locator('#sybil-rows tr').count(), 4)
  await page.locator('#sybil-chance').selectOption('90')
  await page.waitForSelector('#sybil-value:has-text("a chance of 90 %")')
  await closePage(page)
})

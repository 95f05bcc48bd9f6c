/**
 * The dashboard in a real Chromium, drawn from the real daemon on regtest: what it says, how it follows the chain, that
 * it can be used by keyboard, and that it asks nobody but its own tracker. Screenshots go to a folder that is named in
 * the output (or SANDBOX_SCREENSHOTS), for people to look at.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { bondKey } from '../sandbox/bond-key.ts'
import { mineMarket } from '../sandbox/market.ts'
import { freePorts } from '../sandbox/ports.ts'
import { type FundedBond, Regtest } from '../sandbox/regtest.ts'
import { Tracker } from '../sandbox/tracker.ts'
import { waitUntil } from '../sandbox/wait.ts'
import { txidOf } from '../support/bonds.ts'
import { closePage, openBrowser, openPage } from '../support/browser.ts'
import { REGTEST_INFO, startFakeBitcoind } from '../support/fake-bitcoind.ts'
import { ask } from '../support/http.ts'
import { onionHost } from '../support/onions.ts'
import { aRelay, aTalkativeRelay } from '../support/relays.ts'

const MAKERS = 120
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const screenOf = (width: number) => ({ viewport: { width, height: 900 }, screen: { width, height: 900 } })
const SHAPES = [
  { name: '1440', options: screenOf(1440) },
  { name: '390', options: { ...screenOf(390), isMobile: true, hasTouch: true } },
] as const
const THEMES = ['light', 'dark'] as const
/** The narrowest in one theme and the widest in the other. */
const VIEWS = [
  { ...SHAPES[1].options, colorScheme: 'dark' },
  { ...screenOf(2560), colorScheme: 'light' },
] as const

let screenshots: string
let browser: Browser
let node: Regtest
let tracker: Tracker
let bonds: FundedBond[]
let url: string

before(async () => {
  screenshots = process.env.SANDBOX_SCREENSHOTS ?? mkdtempSync(join(tmpdir(), 'ft-screenshots-'))
  mkdirSync(screenshots, { recursive: true })
  browser = await openBrowser()
  node = await Regtest.start({ blocks: 210 })
  tracker = await Tracker.start(node, { http: true })
  bonds = await mineMarket(node, MAKERS)
  await tracker.caughtUp(node)
  url = `http://127.0.0.1:${tracker.httpPort}/`
})
after(async () => {
  await browser?.close()
  await tracker?.[Symbol.asyncDispose]()
  await node?.[Symbol.asyncDispose]()
})

/** Waits until the page is in this state; see app.js. */
async function reaches(page: Page, state: string): Promise<void> {
  await page.waitForSelector(`body[data-state="${state}"]`)
}

const text = (page: Page, selector: string) => page.locator(selector).innerText()
const rows = (page: Page) => page.locator('#makers-rows tr')

/** What says how the tracker does. */
const UPPER_HALF = ['.top', '.hero', '#advice', '#cards']

/** Everything axe knows to be wrong for people who can't see, or not well, or use no mouse; `within`: looked at only there. */
async function accessibilityFaults(page: Page, within = ['body']): Promise<string[]> {
  await page.evaluate(AXE)
  const { passes, violations } = await page.evaluate<{
    passes: unknown[]
    violations: { id: string; help: string; nodes: { html: string }[] }[]
  }>(`axe.run(${JSON.stringify({ include: within.map((place) => [place]) })})`)
  assert.ok(passes.length > 10, 'axe has looked')
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 160))}`)
}

async function assertFits(page: Page): Promise<void> {
  // A phone widens its window to what sticks out: its screen stays.
  const surplus = await page.evaluate<number>('document.documentElement.scrollWidth - screen.width')
  assert.ok(surplus <= 0, `nothing sticks out sideways: ${surplus} px`)
}

test('it shows what the API says, in both themes, wide and narrow, and asks nobody else', async (t) => {
  t.diagnostic(`screenshots: ${screenshots}`)
  const makers = (await ask(tracker.httpPort!, '/api/v1/makers?limit=1000')).json.makers as {
    address: string
    value: number
    today: boolean
  }[]
  assert.equal(makers.length, MAKERS)
  for (const colorScheme of THEMES) {
    for (const { name, options } of SHAPES) {
      const { page, problems, requested } = await openPage(browser, url, { ...options, colorScheme })
      await reaches(page, 'shown')
      assert.equal(await text(page, '#figure-makers'), String(MAKERS))
      assert.equal(await text(page, '#headline'), 'In step with the chain')
      assert.equal(await text(page, '#height'), `Block ${await node.height()}`)
      await page.waitForSelector('#live[data-live="live"]')
      const first = rows(page).first()
      assert.equal(await first.locator('code').getAttribute('title'), makers[0]!.address)
      assert.ok((await first.innerText()).includes(makers[0]!.value.toLocaleString('en')))
      assert.equal(await rows(page).count(), name === '390' ? 10 : 25)
      const skipped = makers.filter(({ today }) => !today).length
      assert.ok(skipped > 0 && skipped < MAKERS)
      assert.match(await text(page, '#today-legend'), new RegExp(`^Not today: ${skipped} of ${MAKERS} makers announce`))
      const marks = await page.locator('#makers-rows .mark').all()
      const shownMakers = makers.slice(0, await rows(page).count())
      assert.equal(marks.length, shownMakers.filter(({ today }) => !today).length)
      for (const mark of marks) {
        assert.match((await mark.getAttribute('title'))!, /older format/)
        assert.match((await mark.textContent())!, /^not today: .*older format/)
      }
      for (const plot of ['history', 'values', 'expiry']) {
        assert.equal(await page.locator(`#plot-${plot} canvas`).count(), 1, plot)
        assert.ok((await text(page, `#plot-${plot} .note`)).length > 10, 'each plot says in words what it shows')
      }
      assert.equal(await text(page, '#count'), `${MAKERS} listed, 0 down: takers are told of all of them.`)
      for (const id of ['plot-latency', 'trackers', 'relays', 'plot-relays', 'advice', 'card-store']) {
        assert.ok(await page.locator(`#${id}`).isHidden(), `${id} has nothing to show`)
      }
      await assertFits(page)
      assert.deepEqual(await accessibilityFaults(page), [])
      await page.screenshot({ path: join(screenshots, `shown-${colorScheme}-${name}.png`) })
      await page.screenshot({ path: join(screenshots, `shown-${colorScheme}-${name}-whole.png`), fullPage: true })
      assert.deepEqual(problems, [])
      assert.ok(requested.length > 10)
      assert.deepEqual(
        requested.filter((address) => !address.startsWith(url)),
        [],
      )
      await closePage(page)
    }
  }
})

test('a new block, a new maker and a reorg show without a reload', async () => {
  const { page, problems, requested } = await openPage(browser, url)
  await reaches(page, 'shown')
  await page.waitForSelector('#live[data-live="live"]')
  const loads = () => requested.filter((address) => address === url).length
  const height = await node.height()
  const fresh = await node.fundBond({
    key: bondKey('fresh'),
    format: 'D',
    address: `${onionHost('fresh')}:21`,
    amountSats: 400_000_000,
    lockBlocks: 25_000,
  })
  await node.mine(1)
  const shown = (block: number) => `#height:text-is("Block ${block}")`
  await page.waitForSelector(shown(height + 1))
  await page.waitForSelector(`#makers-rows tr:first-child code[title="${fresh.address}"]`)
  await page.waitForSelector(`#figure-makers:text-is("${MAKERS + 1}")`)
  await node.replaceTip({ drop: 1, mine: 2 })
  await page.waitForSelector(shown(height + 2))
  await page.waitForSelector(`#figure-makers:text-is("${MAKERS}")`)
  await page.waitForSelector('#chain-note:has-text("1 reorg")')
  assert.equal(await page.locator(`code[title="${fresh.address}"]`).count(), 0)
  assert.equal(loads(), 1)
  assert.deepEqual(problems, [])
  await closePage(page)
})

test('everything can be done by keyboard: skip, sort, search, show more, copy', async () => {
  const { page, problems } = await openPage(browser, url, { permissions: ['clipboard-read', 'clipboard-write'] })
  await reaches(page, 'shown')
  const focused = () => page.evaluate<string>('document.activeElement.id || document.activeElement.textContent.trim()')
  const hasRing = () => page.evaluate<boolean>('getComputedStyle(document.activeElement).outlineStyle !== "none"')
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'Skip to the makers')
  await page.keyboard.press('Enter')
  assert.equal(await focused(), 'makers')
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'search')
  for (const next of ['filter-up', 'filter-proven', 'filter-today', 'filter-format', 'Maker', 'Proof']) {
    await page.keyboard.press('Tab')
    assert.equal(await focused(), next)
    assert.ok(await hasRing(), 'where the focus is can be seen')
  }
  await page.keyboard.press('Tab')
  assert.match(await focused(), /^Value/)
  const sortOf = (key: string) => page.locator(`th[data-key="${key}"]`).getAttribute('aria-sort')
  assert.equal(await sortOf('value'), 'descending')
  await page.keyboard.press('Enter')
  assert.equal(await sortOf('value'), 'ascending')
  for (let i = 0; i < 2; i++) await page.keyboard.press('Tab')
  await page.keyboard.press('Space')
  assert.equal(await sortOf('blocks_left'), 'descending')
  assert.equal(await sortOf('value'), null)
  const left = await page.locator('#makers-rows td.lock .under').allInnerTexts()
  const numbers = left.map((blocks) => Number(blocks.split(' ')[0]!.replaceAll(',', '')))
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => b - a),
  )

  await page.keyboard.press('/')
  assert.equal(await focused(), 'search')
  const wanted = bonds[7]!
  await page.keyboard.type(wanted.address.slice(0, 9).toUpperCase())
  await waitUntil('one row is left', async () => (await rows(page).count()) === 1)
  assert.equal(await rows(page).first().locator('code').getAttribute('title'), wanted.address)
  assert.match(await text(page, '#makers-note'), /^1 of 120 makers match/)
  await page.locator('#search').fill(wanted.txid)
  assert.equal(await rows(page).count(), 1, 'by its bond, too')
  await page.locator('#search').fill('<b>nobody</b>')
  assert.match(await text(page, '#makers-empty'), /Nothing found.*“<b>nobody<\/b>”/s)
  await page.keyboard.press('Escape')
  assert.equal(await rows(page).count(), 25)

  await page.locator('#more-live').focus()
  await page.keyboard.press('Enter')
  assert.equal(await rows(page).count(), MAKERS)
  assert.match(await focused(), /onion:/, 'the focus goes on with the first new row')
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'Copy')
  const address = await page.evaluate<string>('document.activeElement.closest("tr").dataset.address')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#said:text-is("Copied")', { state: 'attached' })
  assert.equal(await page.evaluate<string>('navigator.clipboard.readText()'), address)
  assert.deepEqual(problems, [])
  await closePage(page)
})

test('what probes find is drawn: reach, uptime, fees, latency, other trackers, relays', async () => {
  for (const colorScheme of THEMES) {
    for (const { name, options } of SHAPES) {
      const { page, problems } = await openPage(browser, url, { ...options, colorScheme }, addProbes)
      await reaches(page, 'shown')
      const down = await page.locator('#down-rows tr').first().innerText()
      assert.match(down, /110 sats \+ 0\.005 %/)
      assert.match(down, /28\.7 %\s*down/)
      assert.match(
        await text(page, '#count'),
        /^120 listed, 10 down: .* and 6 more\. Takers are told of the other 110\.$/,
      )
      await page.screenshot({ path: join(screenshots, `probed-${colorScheme}-${name}.png`) })
      assert.equal(await page.locator('#plot-latency canvas').count(), 1)
      assert.equal(await text(page, '#trackers-note'), '1 of 3 trackers list the same bonds as this one')
      assert.equal(await text(page, '#relays-note'), 'Every bond is found at 1 of 2 relays')
      assert.match(
        await text(page, '#relays-list'),
        /relay\.example\s+3 announced\s+2 missing\s+2 dead\s+5 invalid \(4 expired, 1 signature\)\s+not read since .*: it closed the connection \(1001\) · new bonds are seen after 31 seconds · 1 published · refuses: pow: 20 bits needed · NOTICE: slow down/,
      )
      assert.match(await text(page, '#relays-list'), /away\.example\s+not known\s+not read since .*: no TLS/)
      assert.equal(await page.locator('#plot-relays canvas').count(), 1)
      assert.match(
        await text(page, '#plot-relays .note'),
        /relay\.example: 60 %, other\.example: 100 %, away\.example: not known\.$/,
      )
      if (name === '390') await page.locator('#sort-choice').selectOption('fee')
      else await page.getByRole('button', { name: 'Fees' }).click()
      assert.match(
        await rows(page).first().innerText(),
        /120 sats/,
        'who asks least stands first, who was not asked last',
      )
      await assertFits(page)
      assert.deepEqual(await accessibilityFaults(page), [])
      await page.screenshot({ path: join(screenshots, `probed-${colorScheme}-${name}-whole.png`), fullPage: true })
      assert.deepEqual(problems, [])
      await closePage(page)
    }
  }
})

/** How the maker at that place of the list does, as if by chance: 0 well, 1 badly. */
const luckOf = (i: number) => ((i * 7919) % 1000) / 1000
const reachOf = (i: number) => (luckOf(i) > 0.9 ? 'down' : luckOf(i) > 0.85 ? 'unknown' : 'up')

/** Makers and trackers as they will be once they are asked: put into the daemon's own replies. */
async function addProbes(page: Page): Promise<void> {
  await page.route(/\/api\/v1\/(status|makers|history|trackers|relays)/, async (route) => {
    const response = await route.fetch()
    const body = await response.json()
    if (typeof body.makers === 'number') {
      const all = Array.from({ length: body.makers }, (_, i) => reachOf(i))
      for (const reach of ['up', 'down', 'unknown']) body[`makers_${reach}`] = all.filter((one) => one === reach).length
      await route.fulfill({ json: body })
      return
    }
    for (const [i, maker] of (body.makers ?? []).entries()) {
      Object.assign(maker, { probes: 400, uptime_ppm: Math.round(1e6 * (1 - luckOf(i) ** 4)), reach: reachOf(i) })
      Object.assign(maker, i % 11 === 7 ? { proof_failed: 'cert-hash' } : { proven: i % 5 !== 0 })
      if (i % 5 === 0) continue
      maker.offer = {
        base_fee: 100 + 10 * i,
        amount_relative_fee_pct: 0.0025 * (1 + (i % 4)),
        time_relative_fee_pct: 0.0001,
        required_confirms: 1,
        minimum_locktime: 10,
        min_size: 10_000,
        max_size: 1_000_000,
        swap_fee: 150 + 10 * i,
        seen_at: 1,
      }
    }
    if (body.points) {
      body.probes = Array.from({ length: 100 }, (_, i) => ({
        time: body.points.at(-1).time - 600 * (100 - i),
        answered: 100,
        failed: 3,
        median_ms: 1500 + 400 * Math.sin(i / 9) + 150 * Math.sin(i),
        p95_ms: 4000 + 900 * Math.cos(i / 7),
      }))
    }
    if (body.relays) {
      const waiting = { ...aTalkativeRelay([txidOf(1), txidOf(2)]), state: 'waiting' }
      const away = aRelay({
        url: 'ws://away.example',
        state: 'waiting',
        failures: 9,
        failure: 'no TLS',
        counts: undefined,
      })
      body.relays = [waiting, aRelay({ url: 'wss://other.example' }), away]
      body.history = Array.from({ length: 48 }, (_, i) => ({
        time: 1_800_000_000 + 3_600 * i,
        dead: 0,
        invalid: 0,
      })).flatMap((point) => [
        { ...point, url: waiting.url, announced: 3, missing: 2 },
        { ...point, url: 'wss://other.example', announced: 5, missing: 0 },
      ])
    }
    if (body.trackers) {
      body.trackers = [true, false, null].map((agrees, i) => ({
        address: `${onionHost(`tracker-${i}`)}:8080`,
        last_seen: Math.floor(Date.now() / 1000) - 700 * i,
        height: 230 + i,
        digest: '0'.repeat(64),
        agrees,
      }))
    }
    await route.fulfill({ status: response.status(), json: body })
  })
}

test('probes that nobody answers, and rows that can’t be shown, are told as what they are', async () => {
  const step = (ago: number, answered: number, failed: number, ms: number | null = null) => ({
    time: 1_800_000_000 - 600 * ago,
    answered,
    failed,
    median_ms: ms,
    p95_ms: ms,
  })
  const cases: [probes: object[], place: string, says: RegExp][] = [
    [[step(1, 0, 50), step(0, 0, 2)], '.empty', /^No maker answers\s+52 probes since \d\d:\d\d, and no answer\.$/],
    [[step(1, 3, 0, 1500), step(0, 0, 1)], '.empty', /^Median 1\.5 s\s+.*1 probe since \d\d:\d\d, and no answer\.$/],
    [
      [step(2, 3, 0, 1500), step(1, 3, 9, 1500), step(0, 0, 7)],
      '.note',
      /^Median 1\.5 s.* 7 probes since .* no answer\.$/,
    ],
    [[step(2, 3, 0, 1500), step(1, 3, 9, 1500)], '.note', /within 1\.5 s\.$/],
    [[step(2, 3, 0, 850), step(1, 3, 9, 850)], '.note', /^Median 850 ms, 95 of 100 within 850 ms\.$/],
  ]
  for (const [probes, place, says] of cases) {
    const { page, problems } = await openPage(browser, url, {}, (page) =>
      page.route(/\/api\/v1\/(history|makers)/, async (route) => {
        const response = await route.fetch()
        const body = await response.json()
        const broken = [{ list: 'makers', row: 'x', fault: 'y' }]
        if (body.makers) body.makers[0].offer_fault = 'base_fee: expected more'
        await route.fulfill({ json: { ...body, ...(body.points ? { probes } : { broken }) } })
      }),
    )
    await reaches(page, 'shown')
    assert.match(await text(page, `#plot-latency ${place}`), says)
    assert.match(await text(page, '#makers-note'), /; 1 row more can’t be shown$/)
    assert.match(await rows(page).first().locator('td.fees').innerText(), /refused\s+base_fee: expected more$/)
    assert.deepEqual(problems, [])
    await closePage(page)
  }
})

test('an empty market, a scan that is behind, and a tracker that is gone each say so', async () => {
  await using bare = await Regtest.start({ blocks: 3 })
  await using lonely = await Tracker.start(bare, { http: true })
  await lonely.caughtUp(bare)
  const empty = await openPage(browser, `http://127.0.0.1:${lonely.httpPort}/`)
  await reaches(empty.page, 'empty')
  assert.match(await text(empty.page, '#makers-empty'), /No makers yet/)
  assert.equal(await text(empty.page, '#headline'), 'In step with the chain')
  assert.equal(await text(empty.page, '#figure-makers'), '0')
  assert.deepEqual(await accessibilityFaults(empty.page), [])
  await empty.page.screenshot({ path: join(screenshots, 'empty.png'), fullPage: true })
  assert.deepEqual(empty.problems, [])

  await lonely.stop('SIGKILL')
  await reaches(empty.page, 'offline')
  assert.match(await text(empty.page, '#banner'), /No connection to the tracker.*Trying again/)
  assert.equal(await empty.page.locator('#live').getAttribute('data-live'), 'offline')
  await empty.page.screenshot({ path: join(screenshots, 'offline.png'), fullPage: true })
  lonely.launch()
  await reaches(empty.page, 'empty')
  assert.ok(await empty.page.locator('#banner').isHidden(), 'it comes back by itself')
  await empty.page.context().close()

  await using fake = await startFakeBitcoind({
    getblockchaininfo: () => ({ ...REGTEST_INFO, initialblockdownload: true, headers: 900 }),
    getnetworkinfo: () => ({ version: 250000, subversion: '/Satoshi:25.0.0/' }),
    getzmqnotifications: () => [],
    getblockhash: () => '00'.repeat(32),
  })
  const [listen, http] = await freePorts(2)
  const args = ['--no-tor', '--rpc', `127.0.0.1:${fake.port}`, '--auth', 'a:b', '--http', `127.0.0.1:${http}`]
  await using behind = await Tracker.start(bare, { args, cookie: false, port: listen! })
  await behind.said('listening')
  for (const colorScheme of THEMES) {
    const { page } = await openPage(browser, `http://127.0.0.1:${http}/`, { colorScheme })
    await reaches(page, 'syncing')
    await page.waitForSelector('#headline:text-is("bitcoind is still downloading the chain")')
    assert.match(await text(page, '#makers-empty'), /half a list would mislead/)
    assert.ok(await page.locator('.figures').isHidden(), 'no number is better than a wrong one')
    assert.match(
      await text(page, '#advice-list'),
      /^Bitcoind is in initial download.*\n+wait: bitcoin-cli getblockchaininfo/,
    )
    assert.deepEqual(await accessibilityFaults(page), [])
    await page.screenshot({ path: join(screenshots, `syncing-${colorScheme}.png`), fullPage: true })
    await closePage(page)
  }
})

/** What is put over the daemon's own status; a check or an advice is named by what is not well. */
interface Said {
  headline: string
  lede?: RegExp
  advice?: RegExp
  /** Besides lists being refused. */
  isBehind?: true
  status: Record<string, unknown>
  bitcoind?: Record<string, unknown>
  onion?: Record<string, unknown>
  failing?: Record<string, string>
}

const refused = 'connect ECONNREFUSED 127.0.0.1'
const published = {
  ...{
    state: 'published',
    detail: 'descriptor uploaded',
    address: `${onionHost('own')}:8080`,
    tor_version: '0.4.8.16',
  },
  canary: null,
}
const canary = (state: string, detail: string, lastGreen: number | null = null) => ({
  ...published,
  canary: { state, detail, last_green: lastGreen },
})
const advice = (check: string, text: string, fix: string) => ({ advice: [{ check, text, fix }] })

const SAID: Said[] = [
  {
    headline: 'Catching up with the chain',
    isBehind: true,
    failing: { sync: 'scanned 861204 of 880000' },
    status: { height: 861_204, progress: { from: 854_080, at: 861_204, to: 880_000, blocks_per_s: 48, eta_s: 392 } },
    bitcoind: { best_height: 880_000 },
  },
  {
    headline: 'bitcoind is not answering',
    lede: /^Block .*\. No list is given until it is back\.$/,
    advice: /^Nothing answers at 127\.0\.0\.1:8332.*\n+sudo systemctl start bitcoind/,
    isBehind: true,
    failing: { bitcoind: `${refused}:8332`, sync: 'bitcoind has not answered for 9 minutes' },
    status: advice('bitcoind', 'nothing answers at 127.0.0.1:8332 (--rpc)', 'sudo systemctl start bitcoind'),
    bitcoind: { state: 'unreachable', detail: `${refused}:8332` },
  },
  {
    headline: 'bitcoind lacks the next block',
    advice: /^Waits for block 861205.*\n+wait, if bitcoind still downloads/,
    isBehind: true,
    failing: { sync: 'waits' },
    status: advice('sync', 'waits for block 861205', 'wait, if bitcoind still downloads'),
    bitcoind: { state: 'waiting-for-block', detail: 'waits for block 861205' },
  },
  {
    headline: 'The list would be partial',
    isBehind: true,
    failing: { sync: 'blocks 830000 to 833999 of the window were never read' },
    status: { unseen: { from: 830_000, to: 833_999 } },
  },
  {
    headline: 'Looking for bitcoind',
    isBehind: true,
    failing: { bitcoind: 'not asked yet' },
    status: { height: null, block_time: null },
    bitcoind: { state: 'connecting', detail: 'not asked yet', best_height: null },
  },
  {
    headline: 'Not yet reachable through Tor',
    advice: /^Nothing answers at 127\.0\.0\.1:9051.*\n+sudo systemctl start tor/,
    failing: { tor: `${refused}:9051`, onion: `${refused}:9051` },
    status: advice('tor', 'nothing answers at 127.0.0.1:9051 (--control-port)', 'sudo systemctl start tor'),
    onion: { state: 'unreachable', detail: `${refused}:9051`, address: null, tor_version: null, canary: null },
  },
  {
    headline: 'Not reachable through Tor',
    lede: /^Block [^.]*\.$/,
    advice: /^Published, but not reached.*\n+sudo journalctl -u tor/,
    failing: { onion: 'silent' },
    status: advice(
      'onion',
      'published, but not reached through Tor (canary): silent',
      'sudo journalctl -u tor@default',
    ),
    onion: canary('red', 'silent'),
  },
  {
    headline: 'Not reachable through Tor',
    lede: /Last reached 2 hours ago\.$/,
    failing: { tor: `${refused}:9051`, onion: `${refused}:9051` },
    status: { time: 1_790_007_200, ...advice('tor', 'nothing answers', 'sudo systemctl start tor') },
    onion: { ...canary('untried', 'refused', 1_790_000_000), state: 'unreachable', detail: `${refused}:9051` },
  },
  {
    headline: 'Not yet reachable through Tor',
    lede: /Our onion service was not asked through Tor yet\.$/,
    failing: { onion: 'our onion service was not asked through Tor yet' },
    status: {},
    onion: canary('untried', 'our onion service was not asked through Tor yet'),
  },
  {
    headline: 'Somebody else has our onion address',
    failing: { onion: 'another process answers' },
    status: advice('onion', 'another process answers', 'stop the other tracker'),
    onion: canary('impostor', 'another process answers', 1_790_000_000),
  },
  { headline: 'The database can’t be read', failing: { database: 'disk I/O error' }, status: {} },
  {
    headline: 'The shared store is not there',
    advice: /^PostgreSQL at db:5432 is not reached.*\n+fidelity-tracker doctor/,
    failing: { shared_store: 'PostgreSQL at db:5432 is not reached' },
    status: advice('shared_store', 'PostgreSQL at db:5432 is not reached', 'fidelity-tracker doctor'),
  },
  { headline: 'The list is partial', status: { unseen: { from: 830_000, to: 833_999 } }, onion: published },
  {
    headline: 'bitcoind may be behind',
    status: { network: 'main', ...advice('bitcoind', 'bitcoind’s newest block is 5 hours old', 'if that lasts: look') },
    bitcoind: { warnings: ['bitcoind’s newest block is 5 hours old'] },
  },
  { headline: 'In step with the chain', status: {}, onion: published },
]

/** The daemon's own replies, and over them what is said. */
async function say(page: Page, { isBehind, status, bitcoind, onion, failing = {} }: Said): Promise<void> {
  await page.route('**/api/v1/status', async (route) => {
    const body = await (await route.fetch()).json()
    for (const [check, detail] of Object.entries(failing)) body.checks[check] = { ok: false, detail }
    Object.assign(body.bitcoind, bitcoind)
    Object.assign(body.onion, onion)
    const ready = Object.keys(failing).length === 0
    Object.assign(body, { ready, not_ready: Object.values(failing), ...(isBehind && { synced: false }) }, status)
    await route.fulfill({ json: body })
  })
  if (!isBehind) return
  const error = { code: 'not_synced', message: 'not synced: scanned 861204 of 880000' }
  await page.route(/\/api\/v1\/(makers|history|trackers)/, (route) => route.fulfill({ status: 503, json: { error } }))
}

test('whatever is in the way is said first, in words; what to do once, and the error itself when asked for', async () => {
  for (const [i, said] of SAID.entries()) {
    const { headline, lede, isBehind } = said
    const options = { ...SHAPES[i % 2]!.options, colorScheme: THEMES[i % 2]! }
    const { page, problems } = await openPage(browser, url, options, (page) => say(page, said))
    await reaches(page, isBehind ? 'syncing' : 'shown')
    assert.equal(await text(page, '#headline'), headline)
    if (lede) assert.match(await text(page, '#lede'), lede)
    assert.equal(await page.locator('#progress').isVisible(), said.status.progress !== undefined)
    assert.equal(await page.locator('#advice').isVisible(), said.status.advice !== undefined)
    if (said.advice) assert.match(await text(page, '#advice-list'), said.advice)
    assert.ok(!(await text(page, 'main')).includes('ECONNREFUSED'), 'nobody has to read what the system calls it')
    await assertFits(page)
    assert.deepEqual(await accessibilityFaults(page, UPPER_HALF), [])
    await page.screenshot({ path: join(screenshots, `said-${i}.png`) })
    if (!isBehind) assert.deepEqual(problems, [])
    await closePage(page)
  }
  const [scan, away] = SAID
  const { page } = await openPage(browser, url, {}, (page) => say(page, scan!))
  await reaches(page, 'syncing')
  assert.equal(
    await text(page, '#progress-note'),
    '27.5 % · block 861,204 of 880,000 · 48 blocks a second · about 7 minutes left',
  )
  await closePage(page)
  const gone = await openPage(browser, url, {}, (page) => say(page, away!))
  await reaches(gone.page, 'syncing')
  await gone.page.getByText('What was met').click()
  assert.match(await text(gone.page, '#advice-list details'), /ECONNREFUSED 127\.0\.0\.1:8332$/)
  await closePage(gone.page)
})

/** Method: the daemon's 120 makers, of whom the first `count` are shown, or copies of them. */
async function markets(page: Page, count: number): Promise<void> {
  await page.route(/\/api\/v1\/(makers|bonds|history|status)/, async (route) => {
    const body = await (await route.fetch()).json()
    for (const list of ['makers', 'bonds'] as const) {
      if (!Array.isArray(body[list])) continue
      const own: { address: string; reach: string }[] = body[list]
      body[list] = Array.from({ length: count }, (_, i) => {
        const row = { ...own[i % own.length]!, reach: i < 3 ? 'down' : 'up' }
        return i < own.length ? row : { ...row, address: `${onionHost(`copy-${i}`)}:21` }
      })
      Object.assign(body, { total: count, next: null })
    }
    if (body.checks) Object.assign(body, { makers: count, makers_up: count - 3, makers_down: 3, makers_unknown: 0 })
    if (body.checks) body.checks.shared_store = { ok: true, detail: 'the primary at db:5432 answers, TLS' }
    await route.fulfill({ json: body })
  })
}

test('who is down is named, with a way to him, and takers are told of the others', async () => {
  for (const [i, options] of VIEWS.entries()) {
    const count = i === 0 ? 4 : 1_000
    const { page, problems } = await openPage(browser, url, options, (page) => markets(page, count))
    await reaches(page, 'shown')
    assert.match(
      await text(page, '#count'),
      new RegExp(`listed, 3 down: .+, .+, .+\\. Takers are told of the other ${(count - 3).toLocaleString('en')}\\.$`),
    )
    const links = page.locator('#count a')
    assert.match((await links.first().getAttribute('href'))!, /^#maker=[a-z2-7]{56}\.onion%3A\d+$/)
    assert.equal(await text(page, '#store-note'), 'The primary at db:5432 answers, TLS')
    await assertFits(page)
    assert.deepEqual(await accessibilityFaults(page, UPPER_HALF), [])
    await page.screenshot({ path: join(screenshots, `market-${count}-${options.viewport.width}.png`) })
    assert.deepEqual(problems, [])
    await closePage(page)
  }
})

test('the API can be read at /api, drawn without anything but ours', async () => {
  for (const options of VIEWS) {
    const { page, problems, requested } = await openPage(browser, `${url}api`, options)
    await page.getByText('/api/v1/makers', { exact: true }).click()
    await page.getByText('SHA-256 over the live bonds').first().waitFor()
    await assertFits(page)
    assert.deepEqual(await accessibilityFaults(page), [])
    await page.screenshot({ path: join(screenshots, `api-${options.viewport.width}.png`) })
    assert.deepEqual(problems, [])
    assert.deepEqual(
      requested.filter((address) => !address.startsWith(url)),
      [],
    )
    await closePage(page)
  }
})

test('a tracker that fails to answer is not taken for one that is gone', async () => {
  const { page } = await openPage(browser, url, {}, (page) =>
    page.route('**/api/v1/status', (route) =>
      route.fulfill({
        status: 500,
        json: { error: { code: 'internal', message: 'the request failed inside the tracker; its log says why' } },
      }),
    ),
  )
  await reaches(page, 'failed')
  assert.match(await text(page, '#banner'), /The tracker could not answer: .*its log says why/)
  assert.equal(await text(page, '#headline'), 'The tracker could not answer')
  await page.screenshot({ path: join(screenshots, 'failed.png') })
  await page.unrouteAll({ behavior: 'wait' })
  await reaches(page, 'shown')
  await closePage(page)
})

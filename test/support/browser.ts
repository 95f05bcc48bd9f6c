/** A real Chromium (Debian's) and pages that remember what went wrong in them. */
import { spawnSync } from 'node:child_process'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

export interface OpenPage {
  page: Page
  /** Console errors and warnings, exceptions, refused or failed requests. */
  problems: string[]
  /** Every address that was asked for. */
  requested: string[]
}

export async function openBrowser(): Promise<Browser> {
  const path =
    process.env.SANDBOX_CHROMIUM ?? spawnSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).stdout.trim()
  if (!path) throw new Error('no chromium: run scripts/test.sh, which brings it, or apt-get install chromium')
  return chromium.launch({ executablePath: path })
}

/** Ends a page whose requests the test may answer: it goes on asking by itself until it is gone. */
export async function closePage(page: Page): Promise<void> {
  await page.unrouteAll({ behavior: 'ignoreErrors' })
  await page.context().close()
}

/** A page in a context of its own: nothing is shared with others. `prepare` runs before it goes to `url`. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  prepare?: (page: Page) => Promise<unknown>,
): Promise<OpenPage> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
  const page = await context.newPage()
  const problems: string[] = []
  const requested: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text())
  })
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('request', (request) => requested.push(request.url()))
  await prepare?.(page)
  await page.goto(url)
  return { page, problems, requested }
}

/**
 * The files that a browser gets: the dashboard's own, uPlot's, and the page of the API with Swagger UI. Each is read once,
 * when the server starts: nothing else of the disk can be asked for. Knows nothing of what they show.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { VIEWER_POLICY } from './guard.ts'

interface ServedPage {
  path: string
  contentType: string
  body: Buffer
  etag: string
  /** Its content security policy, where it is not that of all replies. */
  policy?: string
}

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const DASHBOARD = new URL('./dashboard/', import.meta.url)
/** Swagger UI as the build has copied it (scripts/api-viewer.mjs). */
const VIEWER = new URL('./api-viewer/', import.meta.url)
const { resolve } = createRequire(import.meta.url)

export function readServedPages(): ServedPage[] {
  const own = (name: string) => fileURLToPath(new URL(name, DASHBOARD))
  const viewer = (name: string) => fileURLToPath(new URL(name, VIEWER))
  const assets = readdirSync(DASHBOARD).filter((name) => /\.(js|css)$/.test(name))
  return [
    page('/', 'html', own('index.html')),
    { ...page('/api', 'html', own('api.html')), policy: VIEWER_POLICY },
    page('/favicon.svg', 'svg', own('favicon.svg')),
    ...assets.map((name) => page(`/assets/${name}`, name.endsWith('.js') ? 'js' : 'css', own(name))),
    page('/assets/uplot.js', 'js', resolve('uplot/dist/uPlot.esm.js')),
    page('/assets/uplot.css', 'css', resolve('uplot/dist/uPlot.min.css')),
    page('/assets/swagger-ui.js', 'js', viewer('swagger-ui-bundle.js')),
    page('/assets/swagger-ui.css', 'css', viewer('swagger-ui.css')),
  ]
}

function page(path: string, type: keyof typeof TYPES, file: string): ServedPage {
  const body = readFileSync(file)
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  return { path, contentType: TYPES[type], body, etag }
}

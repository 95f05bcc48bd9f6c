/** The dashboard's files, read once when the server starts: nothing else of the disk can be asked for. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface Page {
  path: string
  contentType: string
  body: Buffer
  etag: string
}

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const DASHBOARD = new URL('./dashboard/', import.meta.url)
const { resolve } = createRequire(import.meta.url)

export function readPages(): Page[] {
  const own = (name: string) => fileURLToPath(new URL(name, DASHBOARD))
  return [
    page('/', 'html', own('index.html')),
    page('/favicon.svg', 'svg', own('favicon.svg')),
    page('/assets/style.css', 'css', own('style.css')),
    ...['app', 'dom', 'live', 'makers', 'plots', 'status', 'words'].map((name) =>
      page(`/assets/${name}.js`, 'js', own(`${name}.js`)),
    ),
    page('/assets/uplot.js', 'js', resolve('uplot/dist/uPlot.esm.js')),
    page('/assets/uplot.css', 'css', resolve('uplot/dist/uPlot.min.css')),
  ]
}

function page(path: string, type: keyof typeof TYPES, file: string): Page {
  const body = readFileSync(file)
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  return { path, contentType: TYPES[type], body, etag }
}

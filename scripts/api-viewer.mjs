/**
 * Part of the build: Swagger UI, by which the page of the API is read (src/http/dashboard/api.html), goes into
 * dist/http/api-viewer/ with its licence. It is copied, not depended on: of the package two files are served, and what it
 * depends on itself tells its maker of every installation.
 */
import { copyFileSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FILES = ['swagger-ui-bundle.js', 'swagger-ui.css', 'LICENSE', 'NOTICE', 'swagger-ui-bundle.js.LICENSE.txt']

const from = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
const to = fileURLToPath(new URL('../dist/http/api-viewer/', import.meta.url))
mkdirSync(to, { recursive: true })
for (const name of FILES) copyFileSync(join(from, name), join(to, name))

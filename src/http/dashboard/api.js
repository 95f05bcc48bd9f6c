/** The page of the API: the OpenAPI document, as Swagger UI draws it, in the reader's theme. */
import { byId } from './dom.js'

const dark = matchMedia('(prefers-color-scheme: dark)')
const followTheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', followTheme)
followTheme()

/** A row is one button: what it has inside can't be pressed for itself. */
const rowsAreButtons = { wrapComponents: { CopyToClipboardBtn: () => () => null } }

globalThis.SwaggerUIBundle({
  url: '/openapi.json',
  domNode: byId('viewer'),
  docExpansion: 'list',
  defaultModelRendering: 'model',
  defaultModelExpandDepth: 3,
  defaultModelsExpandDepth: 0,
  supportedSubmitMethods: [],
  syntaxHighlight: false,
  validatorUrl: null,
  plugins: [rowsAreButtons],
})

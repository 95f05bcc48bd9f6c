/**
 * The build's step that makes dist/share/: the man page and the completions, where a system looks for them below /usr or
 * /usr/local. Run by Node 22.14 too, hence the flag in package.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bashCompletion } from './bash.ts'
import { fishCompletion } from './fish.ts'
import { manPage } from './man.ts'
import { readTree, type Tree } from './tree.ts'
import { zshCompletion } from './zsh.ts'

export const SHARE_FILES: { readonly [path: string]: (tree: Tree) => string } = {
  'man/man1/fidelity-tracker.1': manPage,
  'bash-completion/completions/fidelity-tracker': bashCompletion,
  'zsh/site-functions/_fidelity-tracker': zshCompletion,
  'fish/vendor_completions.d/fidelity-tracker.fish': fishCompletion,
}

const SHARE = new URL('../../dist/share/', import.meta.url).pathname
const tree = readTree()
for (const [path, make] of Object.entries(SHARE_FILES)) {
  mkdirSync(dirname(join(SHARE, path)), { recursive: true })
  writeFileSync(join(SHARE, path), make(tree))
}

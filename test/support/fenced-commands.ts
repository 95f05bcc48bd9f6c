/** The commands of the pages, as whoever reads them would type them: each line of a fenced `sh` block, or after `$` of a `console` one. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = new URL('../../', import.meta.url).pathname

export interface FencedCommand {
  /** Without the comment behind it. */
  text: string
  /** `file:line`. */
  at: string
}

/** Of README, CONTRIBUTING, SECURITY and docs/, in this order. */
export function fencedCommands(): FencedCommand[] {
  const docs = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'))
  const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...docs.sort().map((name) => `docs/${name}`)]
  return pages.flatMap((page) => commandsIn(readFileSync(join(ROOT, page), 'utf8'), page))
}

/** A block in another language that begins like a command is a mistake of its page: throws. */
export function commandsIn(markdown: string, page: string): FencedCommand[] {
  const commands: FencedCommand[] = []
  let language: string | undefined
  for (const [i, line] of markdown.split('\n').entries()) {
    const fence = /^ *```(\w*)$/.exec(line)
    if (fence) language = language === undefined ? fence[1]! : undefined
    else if (language !== undefined) {
      const at = `${page}:${i + 1}`
      const typed = language === 'sh' ? line.trim() : language === 'console' ? /^\$ (.*)$/.exec(line)?.[1] : undefined
      const text = typed?.replace(/(^| {2,}| )# .*$/, '').trim()
      if (text) commands.push({ text, at })
      if (typed === undefined && /^(sudo|npx|npm|fidelity-tracker|\.\/scripts\/\S+\.sh) /.test(line.trim())) {
        if (language !== 'console') throw new Error(`${at} looks like a command: its block should be \`sh\``)
      }
    }
  }
  return commands
}

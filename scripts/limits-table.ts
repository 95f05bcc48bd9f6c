/**
 * Writes the tables of docs/limits.md: every bound with its value and reason out of the source and the settings, and what
 * happens there out of limits.ts. `node scripts/limits-table.ts --write`; without it the page goes to standard output.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { flagName, SETTING_NAMES, setting } from '../src/settings.ts'
import { AT_BOUND, AT_SETTING, type Bound } from './limits.ts'

export const LIMITS_PAGE = new URL('../docs/limits.md', import.meta.url)
const SRC = new URL('../src/', import.meta.url)
const BEGIN = '<!-- limits: written by scripts/limits-table.ts -->\n'
const END = '<!-- end of limits -->\n'

export interface Limit {
  /** Below src/. */
  file: string
  name: string
  /** As the source has it. */
  value: string
  why: string
}

/** Every limit in the source: properties of constants named …LIMITS, and numbers named …_MAX or …_MIN. */
export function limitsInSource(): Limit[] {
  return sourceFiles().flatMap((file) => limitsOf(file, readFileSync(new URL(file, SRC), 'utf8')))
}

/** Paths below src/; what is compiled from a file may lie beside it, and is not counted. */
export function sourceFiles(): string[] {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  const all = new Set(files)
  const isSource = (file: string) => /\.ts$/.test(file) || (/\.js$/.test(file) && !all.has(file.replace(/js$/, 'ts')))
  return files.filter(isSource).sort()
}

/** Pure; relies on how Biome formats. */
export function limitsOf(file: string, text: string): Limit[] {
  const objects = text.matchAll(/^(?:export )?const \w*LIMITS\b[^=\n]*= \{\n([\s\S]*?)^\}/gm)
  const limits = [...objects].flatMap(([, body]) => properties(body!).map((found) => ({ file, ...found })))
  const single =
    /(?:^\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?^(?:export )?const ([A-Z][A-Z0-9_]*_(?:MAX|MIN))\b[^=\n]*= ([^\n]+)$/gm
  const numbers: Limit[] = []
  let endsAt = -1
  for (const { 0: whole, 1: comment, 2: name, 3: value, index } of text.matchAll(single)) {
    const isNext = index === endsAt + 1 // the comment above holds for both
    const why = comment === undefined && isNext ? numbers.at(-1)!.why : plain(comment ?? '')
    numbers.push({ file, name: name!, value: value!.trim(), why })
    endsAt = index + whole.length
  }
  return [...limits, ...numbers]
}

/** Of a constant's lines between its braces: a comment holds for the properties that follow it without one. */
function properties(body: string): Omit<Limit, 'file'>[] {
  const found: Omit<Limit, 'file'>[] = []
  let why = ''
  const token = /^ {2}\/\*\*([\s\S]*?)\*\/$|^ {2}(\w+): (\{\n[\s\S]*?^ {2}\}|[^\n]*?),$/gm
  for (const [, comment, name, value] of body.matchAll(token)) {
    if (comment !== undefined) why = plain(comment)
    else found.push({ name: name!, value: value!.replace(/\s+/g, ' '), why })
  }
  return found
}

function plain(comment: string): string {
  return comment
    .replace(/^\s*\*\s?/gm, ' ')
    .replace(/\s+/g, ' ')
    .trim()
}

/** `300_000` as "5 min (`300_000`)", by the unit in the limit's name; as digits where it has none. */
function readable(name: string, value: string): string {
  const isProduct = /^[\d_]+(?: \* [\d_]+)*$/.test(value)
  const number = isProduct
    ? value.split(' * ').reduce((n, part) => n * Number(part.replaceAll('_', '')), 1)
    : Number.NaN
  const shown = (n: number) => n.toLocaleString('en-US', { maximumFractionDigits: 2 })
  if (Number.isNaN(number)) return `\`${value}\``
  const isTime = /Ms(?:Max|PerUnit)?$|_MS/.test(name)
  if (isTime || /S(?:Max)?$|_S(?:_|$)/.test(name))
    return `${time(isTime ? number / 1000 : number, shown)} (\`${value}\`)`
  if (!/bytes/i.test(name)) return shown(number)
  return number < 1e4 ? `${shown(number)} bytes` : `${size(number, shown)} (\`${value}\`)`
}

function size(bytes: number, shown: (n: number) => string): string {
  return bytes >= 1e6 ? `${shown(bytes / 1e6)} MB` : `${shown(bytes / 1e3)} kB`
}

function time(seconds: number, shown: (n: number) => string): string {
  const [size, unit] = (
    [
      [86_400, 'd'],
      [3_600, 'h'],
      [60, 'min'],
      [1, 's'],
    ] as const
  ).find(([size]) => seconds >= 2 * size || seconds === size) ?? [0.001, 'ms']
  return `${shown(seconds / size)} ${unit}`
}

/** The page with the tables as they should be. */
export function withLimitsTables(page: string): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (from < 0 || to < from) throw new Error('docs/limits.md has lost the marks around its tables')
  return page.slice(0, from + BEGIN.length) + tables() + page.slice(to)
}

function tables(): string {
  const limits = limitsInSource()
  const files = [...new Set(limits.map(({ file }) => file))]
  const unknown = Object.keys(AT_BOUND).filter((file) => !files.includes(file))
  if (unknown.length > 0) throw new Error(`scripts/limits.ts names files without limits: ${unknown}`)
  const unsaid = files.filter((file) => !(file in AT_BOUND))
  if (unsaid.length > 0) throw new Error(`scripts/limits.ts says nothing of ${unsaid}, which have limits`)
  const rooms = [...new Set(files.map(roomOf))]
  const inSource = rooms.map((room) => {
    const own = limits.filter(({ file }) => roomOf(file) === room)
    return table(
      `src/${room}`,
      own.map((limit) => [`\`${limit.name}\` ${limit.file.replace(/^.*\//, '')}`, limit]),
    )
  })
  return [settingsTable(), ...inSource].join('\n')
}

function roomOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/') + 1) : ''
}

const HEAD = ['| limit | how many | why | at the bound | metric |', '| --- | --- | --- | --- | --- |']

function table(title: string, rows: readonly (readonly [string, Limit])[]): string {
  const lines = rows.map(([label, { file, name, value, why }]) =>
    row(label, readable(name, value), why, boundOf(file, name)),
  )
  return [`## ${title}`, '', ...HEAD, ...lines, ''].join('\n')
}

function boundOf(file: string, name: string): Bound {
  const bound = AT_BOUND[file]!
  const wrong = Object.keys(bound.but ?? {}).find((known) => !limitNames(file).has(known))
  if (wrong !== undefined) throw new Error(`scripts/limits.ts names ${wrong}, which ${file} does not have`)
  return bound.but?.[name] ?? bound
}

function limitNames(file: string): Set<string> {
  return new Set(limitsOf(file, readFileSync(new URL(file, SRC), 'utf8')).map(({ name }) => name))
}

/** Settings that are a number, but for ports. */
function settingsTable(): string {
  const rows = SETTING_NAMES.flatMap((name) => {
    const { about, default: value } = setting(name)
    if (typeof value !== 'number' || name.endsWith('-port')) return []
    const bound = AT_SETTING[name]
    if (!bound) throw new Error(`scripts/limits.ts says nothing of --${name}`)
    return [row(`\`${flagName(name)}\``, value.toLocaleString('en-US'), about, bound)]
  })
  return ['## Settings', '', ...HEAD, ...rows, ''].join('\n')
}

function row(label: string, value: string, why: string, { at, metric }: Bound): string {
  const cells = [label, value, why, at, metric === undefined ? '' : `\`${metric}\``]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

if (import.meta.main) {
  const page = withLimitsTables(readFileSync(LIMITS_PAGE, 'utf8'))
  if (process.argv.includes('--write')) writeFileSync(LIMITS_PAGE, page)
  else process.stdout.write(page)
}

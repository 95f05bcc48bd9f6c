/** Writes the table of all settings into docs/operating.md, from the settings themselves. `node scripts/settings-table.ts` */
import { readFileSync, writeFileSync } from 'node:fs'
import { defaultOf, envName, flagsOf, SETTING_NAMES, type SettingName, setting } from '../src/settings.ts'

export const MANUAL = new URL('../docs/operating.md', import.meta.url)
const BEGIN = '<!-- settings: written by scripts/settings-table.ts -->\n'
const END = '<!-- end of settings -->\n'

/** The manual with the table as it should be. */
export function withSettingsTable(manual: string): string {
  const from = manual.indexOf(BEGIN)
  const to = manual.indexOf(END)
  if (from < 0 || to < from) throw new Error('docs/operating.md has lost the marks around its settings')
  return manual.slice(0, from + BEGIN.length) + settingsTable() + manual.slice(to)
}

function settingsTable(): string {
  const head = ['| flag | environment | in the file | default | what it is |', '| --- | --- | --- | --- | --- |']
  return `${[...head, ...SETTING_NAMES.map(row)].join('\n')}\n`
}

function row(name: SettingName): string {
  const { isHidden, about, defaultText } = setting(name)
  const value = defaultOf(name)
  const shown = defaultText ?? (value === undefined ? '-' : `\`${value}\``)
  const cells = [isHidden ? '-' : `\`${flagsOf(name)}\``, `\`${envName(name)}\``, `\`${name}\``, shown, about]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

if (import.meta.main) writeFileSync(MANUAL, withSettingsTable(readFileSync(MANUAL, 'utf8')))

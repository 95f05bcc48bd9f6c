/** Writes the table of all settings into docs/operating.md, from the settings themselves. `node scripts/settings-table.ts` */
import { readFileSync, writeFileSync } from 'node:fs'
import { envName, flagName, SETTING_NAMES, type SettingName, setting } from '../src/settings.ts'

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
  const { short, argument, isHidden, about, default: value, defaultText } = setting(name)
  const flag = [[short, flagName(name)].filter(Boolean).join(', '), argument].filter(Boolean).join(' ')
  const shown = defaultText ?? (value === undefined ? '-' : `\`${value}\``)
  const cells = [isHidden ? '-' : `\`${flag}\``, `\`${envName(name)}\``, `\`${name}\``, shown, about]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

if (import.meta.main) writeFileSync(MANUAL, withSettingsTable(readFileSync(MANUAL, 'utf8')))

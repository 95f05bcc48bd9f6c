/** `print-config --example`: a TOML file with every setting and what it means, nothing in it set. */
import { defaultOf, type SettingName, SUBJECTS, setting } from '../settings.ts'
import { wrapped } from './help.ts'

const HEAD =
  'Settings of fidelity-tracker, for --config. Nothing is set here: take away the # before a name to set it. What stands behind the name is the default; where a line says what the default is, it is an example. Flags and the environment come before this file. It may hold passwords: let nobody read it but the tracker (chmod 600).'

export function exampleConfig(): string {
  const parts = SUBJECTS.map(({ title, names }) => `# ---- ${title} ----\n\n${names.map(entry).join('\n')}`)
  return `${commented(HEAD)}\n\n${parts.join('\n')}`
}

function entry(name: SettingName): string {
  const { about, default: value, example } = setting(name)
  const lines = [
    value === true ? `false: ${about}` : about,
    ...(value === undefined ? [`default: ${defaultOf(name) ?? 'none'}`] : []),
  ]
  return `${[...lines.map(commented), `#${name} = ${literal(value ?? example)}`].join('\n')}\n`
}

function literal(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(literal).join(', ')}]` : JSON.stringify(value)
}

function commented(text: string): string {
  return wrapped(text, { columns: 120, before: '# ' })
}

/** `print-config --example`: nothing is set in it, and what it shows can be taken as it stands. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { exampleConfig } from '../../../src/cli/config-example.ts'
import { readConfig } from '../../../src/config.ts'
import { SETTING_NAMES, setting } from '../../../src/settings.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** Two that say the same in two ways: one of each may be set. */
const EITHER = [
  ['auth', 'tor-auth-password'],
  ['cookie-file', 'tor-cookie-file'],
]

/** The settings that come from the file when these names are set in it. */
function taken(file: string, isSet: (name: string) => boolean): ReturnType<typeof readConfig> {
  const text = exampleConfig().replace(/^#([a-z][\w-]*)(?= = )/gm, (line, name) => (isSet(name) ? name : line))
  writeFileSync(file, text)
  return readConfig({ flags: {}, env: {}, configFile: file })
}

test('as it is written nothing is set; with its settings set, it is a file that is taken, defaults being what they are', () => {
  using dir = tempDir()
  const file = join(dir.path, 'tracker.toml')
  assert.ok(taken(file, () => false).origins.every(({ source }) => source === 'default'))
  for (const without of EITHER) {
    const { origins } = taken(file, (name) => !without.includes(name))
    for (const { name, value, source } of origins) {
      assert.equal(source, without.includes(name) ? 'default' : 'file', name)
      const { default: ofProgram, example } = setting(name)
      if (source === 'file') assert.deepEqual(value, ofProgram ?? example, name)
    }
  }
})

test('every setting is told with its meaning and its default, in lines that fit', () => {
  const lines = exampleConfig().split('\n')
  assert.deepEqual(
    lines.filter((line) => line.length > 120),
    [],
  )
  for (const name of SETTING_NAMES) {
    const at = lines.findIndex((line) => line.startsWith(`#${name} = `))
    const told = lines
      .slice(lines.lastIndexOf('', at) + 1, at)
      .join(' ')
      .replaceAll(' # ', ' ')
    assert.ok(told.includes(setting(name).about), name)
    if (setting(name).default === undefined) assert.match(told, / default: ./, name)
  }
})

/** What every verb needs of commander: the settings as options, the configuration they give, and printing. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { isTxid, type Outpoint, parseOutpoint, type Txid } from '../chain/types.ts'
import { type Config, type RawValues, readConfig } from '../config.ts'
import { ConfigError } from '../errors.ts'
import { CONFIG_ENV, defaultOf, envName, flagName, flagsOf, SETTING_NAMES, SUBJECTS, setting } from '../settings.ts'

/** The options of every verb: --config, and each setting as a flag. */
export function addSettings(command: Command): void {
  command.option('--config <file>', 'read settings from this TOML file')
  for (const { title, names } of SUBJECTS) {
    for (const name of names) {
      const { about, isHidden = false } = setting(name)
      const shown = typeof setting(name).default === 'boolean' ? undefined : defaultOf(name)
      const option = new Option(flagsOf(name), about + (shown === undefined ? '' : ` (default: ${shown})`))
      command.addOption(option.hideHelp(isHidden).helpGroup(`${title}:`))
    }
  }
}

/** The settings as this command line, the environment and the file give them. */
export function configOf(command: Command): Config {
  const given: Record<string, unknown> = {}
  for (const name of SETTING_NAMES) {
    const attribute = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
    if (command.getOptionValueSource(attribute) !== 'cli') continue
    if (setting(name).isHidden) {
      throw new ConfigError(
        `${flagName(name)} is not taken on the command line, where ps shows its password to everybody: set ${envName(name)} in the environment, or ${name} in the file`,
      )
    }
    given[name] = command.getOptionValue(attribute)
  }
  return readConfig({
    flags: given as RawValues,
    env: process.env,
    configFile: configFileOf(command),
  })
}

/** The TOML file that was named, on the command line or in the environment. */
export function configFileOf(command: Command): string | undefined {
  return command.opts<{ config?: string }>().config ?? (process.env[CONFIG_ENV] || undefined)
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

export function isJson(command: Command): boolean {
  return command.opts<{ json?: boolean }>().json === true
}

/** Reads an option that is a height, or a number of blocks. */
export function wholeHeight(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('expected a whole number of blocks')
  return Number(value)
}

/** Reads arguments that are outpoints. Throws ConfigError. */
export function outpointsOf(texts: readonly string[]): Outpoint[] {
  return texts.map((text) => {
    const outpoint = parseOutpoint(text.trim().toLowerCase())
    if (!outpoint) throw new ConfigError(`${text} is no outpoint: expected <txid as bitcoin-cli prints it>:<vout>`)
    return outpoint
  })
}

/** A txid as people paste it, also that of an outpoint. */
export function txidIn(text: string): Txid | undefined {
  const [, hex = ''] = /^([0-9a-f]{64})(?::\d{1,10})?$/.exec(text.trim().toLowerCase()) ?? []
  return isTxid(hex) ? hex : undefined
}

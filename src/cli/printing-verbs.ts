/** What the verbs that print the settings do: as they are read, and as Tor needs them. */
import type { Command } from 'commander'
import { formatConfig } from '../config.ts'
import { dirOf } from '../tor/back-end.ts'
import { balanceSetup } from '../tor/balance-text.ts'
import { targetFor } from '../tor/targets.ts'
import { TORRC_DEFAULTS, torrcFor } from '../tor/torrc.ts'
import { configOf, print } from './command.ts'
import { exampleConfig } from './config-example.ts'

export function printConfig({ example }: { example?: boolean }, command: Command): void {
  print((example ? exampleConfig() : formatConfig(configOf(command))).trimEnd())
}

/** `isBalanced`: the whole way to one address over several trackers. */
export function printTorrc(command: Command, isBalanced: boolean): void {
  const { tor, listen, nostr, wire } = configOf(command)
  const place = { control: undefined, onionTarget: tor.kind === 'none' ? undefined : tor.onionTarget }
  const options = {
    ...TORRC_DEFAULTS,
    ...(tor.kind !== 'none' && { socks: tor.socks, streamsPerCircuit: tor.streamsPerCircuit }),
    ...(tor.kind === 'control' && { control: tor.control }),
    virtualPort: listen.port,
    target: targetFor('address', listen, place),
    nostr: nostr.listen && targetFor('nostr', nostr.listen, place),
    managed: tor.kind === 'torrc',
    ...(tor.kind === 'torrc' && { hostnameFile: tor.hostnameFile }),
    circuitIds: wire.circuitIds,
  }
  if (!isBalanced) return print(torrcFor(options).trimEnd())
  const managed = tor.kind === 'torrc' ? tor : undefined
  const dir = dirOf(options.hostnameFile)
  const control = managed?.control ?? options.control
  const { publicOnion } = managed ?? {}
  print(balanceSetup({ ...options, control, publicOnion, service: { ...options, dir } }).trimEnd())
}

/** What the verbs that print the settings do: as they are read, and as Tor needs them. */
import type { Command } from 'commander'
import { formatConfig } from '../config.ts'
import { targetFor } from '../tor/targets.ts'
import { TORRC_DEFAULTS, torrcFor } from '../tor/torrc.ts'
import { configOf, print } from './command.ts'

export function printConfig(command: Command): void {
  print(formatConfig(configOf(command)).trimEnd())
}

export function printTorrc(command: Command): void {
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
    circuitIds: wire.circuitIds,
  }
  print(torrcFor(options).trimEnd())
}

/** Everything that takes bytes from outside. */
import { CHAIN_TARGETS } from './chain-targets.ts'
import { DOOR_TARGETS } from './door-targets.ts'
import type { Target } from './fuzz.ts'
import { RELAY_TARGETS } from './relay-targets.ts'
import { SOCKET_TARGETS } from './socket-targets.ts'
import { WIRE_TARGETS } from './wire-targets.ts'

export const TARGETS: readonly Target[] = [
  ...WIRE_TARGETS,
  ...CHAIN_TARGETS,
  ...RELAY_TARGETS,
  ...SOCKET_TARGETS,
  ...DOOR_TARGETS,
]

export function targetOf(name: string): Target {
  const found = TARGETS.find((target) => target.name === name)
  if (!found) throw new Error(`no target ${name}; there are ${TARGETS.map((target) => target.name).join(' ')}`)
  return found
}

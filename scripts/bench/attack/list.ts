/** Every attack, in the order of their numbers. */
import type { Attack } from './attack.ts'
import { CIRCUIT_ATTACKS } from './circuits.ts'
import { DOOR_ATTACKS } from './door.ts'
import { LIAR_ATTACKS } from './liars.ts'
import { REQUEST_ATTACKS } from './requests.ts'
import { SLOT_ATTACKS } from './slots.ts'
import { STRANGER_ATTACKS } from './strangers.ts'
import { WATCHING_ATTACKS } from './watching.ts'

export const ATTACKS: readonly Attack[] = [
  ...REQUEST_ATTACKS,
  ...WATCHING_ATTACKS,
  ...SLOT_ATTACKS,
  ...STRANGER_ATTACKS,
  ...LIAR_ATTACKS,
  ...CIRCUIT_ATTACKS,
  ...DOOR_ATTACKS,
].sort((a, b) => a.number - b.number)

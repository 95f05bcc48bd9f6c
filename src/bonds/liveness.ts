/** What is known of a bond's maker beyond the chain. Whoever probes makers says it; the lists only pass it on. */
import type { AnnouncedOutput } from './types.ts'

export const REACHES = ['up', 'down', 'unknown'] as const
export type Reach = (typeof REACHES)[number]

export interface Liveness {
  /** The maker has shown a valid fidelity proof of this bond. */
  proven: boolean
  reach: Reach
  /** When it last answered, Unix seconds; absent when it never has. */
  lastUpS?: number
  /** How often it was asked while our own Tor was well. */
  probes: number
  /** Answered probes in a million; absent without any. */
  uptimePpm?: number
}

/** Called for every bond of a page: to be answered from memory. */
export type LivenessOf = (bond: AnnouncedOutput) => Liveness

/** For as long as nobody probes. */
export const unprobed: LivenessOf = () => ({ proven: false, reach: 'unknown', probes: 0 })

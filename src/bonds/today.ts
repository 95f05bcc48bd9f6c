/**
 * Whether takers of today's market accept an announcement: a function of the chain alone. Never part of what is live.
 * Source: docs/nostr.md, "What takers accept".
 */
import type { Network } from '../chain/types.ts'
import type { ConfirmedBond } from './types.ts'

export const TODAY_REFUSALS = ['text-format'] as const
export type TodayRefusal = (typeof TODAY_REFUSALS)[number]

/** Why takers skip it; empty when they don't. */
export function todayRefusalsOf(bond: ConfirmedBond, _network: Network): readonly TodayRefusal[] {
  return bond.format === 'D' ? [] : ['text-format']
}

export function isTakenToday(bond: ConfirmedBond, network: Network): boolean {
  return todayRefusalsOf(bond, network).length === 0
}

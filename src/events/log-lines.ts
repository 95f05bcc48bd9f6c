/**
 * Pure: what a change is in the log. Info is what an operator wants to have read in the morning: bonds found, spent, expired
 * and soon to end, makers gone and back; debug all else. What a room says of itself (reorgs, the onion service, trackers)
 * is not told again here.
 */
import { endHeight } from '../bonds/verify.ts'
import { utc } from '../format.ts'
import type { KnownBond } from '../market.ts'
import type { MakerRecord } from '../peers/types.ts'
import type { Change } from './changes.ts'

export interface LogLine {
  level: 'info' | 'debug'
  msg: string
  fields: Record<string, unknown>
}

type Told<K extends Change['kind']> = Extract<Change, { kind: K }>['data']

/** Undefined where the log has it from elsewhere, or nobody needs it. `bondOf`: what is known of a bond by now, by outpoint. */
export function lineOf(change: Change, bondOf: (outpoint: string) => KnownBond | undefined): LogLine | undefined {
  switch (change.kind) {
    case 'bond':
      return bondLine(change.data, bondOf(change.data.outpoint))
    case 'expiring': {
      const { outpoint, address: maker, blocks_left: blocksLeft } = change.data
      return { level: 'info', msg: 'bond ends soon', fields: { outpoint, maker, blocksLeft } }
    }
    default:
      return undefined
  }
}

function bondLine({ outpoint, address: maker, state, previous, height }: Told<'bond'>, known?: KnownBond): LogLine {
  const line = (level: LogLine['level'], msg: string, fields: object = {}): LogLine => ({
    level,
    msg,
    fields: { outpoint, maker, ...fields, height },
  })
  const amountSats = known?.bond.amountSats
  const confirmed = known && 'conf' in known.bond ? known.bond : undefined
  const isNew = previous === null || previous === 'pending'
  switch (state) {
    case 'live': {
      if (!isNew) return line('info', 'bond is live again: what had ended it was taken back')
      const lock = confirmed && { confHeight: confirmed.conf.height, endHeight: endHeight(confirmed) }
      return line('info', 'bond found', { amountSats, value: known?.value, ...lock })
    }
    case 'spent':
      return line('info', 'bond spent', { amountSats, previous, by: confirmed?.spentBy?.txid })
    case 'expired':
      return line('info', isNew || previous === 'live' ? 'bond expired' : 'bond expired: its spend was taken back', {
        amountSats,
      })
    case 'gone':
      return line(previous === 'live' ? 'info' : 'debug', 'bond gone: its transaction was taken back', { previous })
    case 'pending':
      return line('debug', 'bond announced in the mempool', { amountSats })
    case 'refused':
      return line('debug', 'announcement is no bond', { refusal: confirmed?.refusal })
  }
}

/** What the log last said of a maker, and when it was up last by then (Unix seconds). */
export interface MakerTold {
  reach: 'up' | 'down'
  lastUpS: number | null
}

/**
 * A maker that went down, or came up: for the first time, or after it was down. That it is not known to be either is no
 * news, and neither that it answers again after that. `record`: why it was not reached.
 */
export function makerLine(
  { address: maker, reach, last_up: lastUpS }: Told<'maker'>,
  told: MakerTold | undefined,
  record: MakerRecord | undefined,
): LogLine | undefined {
  if (reach === 'unknown' || reach === told?.reach) return undefined
  const at = (unixS: number | null) => (unixS === null ? 'never' : utc(1_000 * unixS))
  if (reach === 'down') {
    const why = { failure: record?.failure, detail: record?.failureText }
    return { level: 'info', msg: 'maker down', fields: { maker, lastUp: at(lastUpS), ...why } }
  }
  const gone = told?.reach === 'down' && { lastUp: at(told.lastUpS), ...downFor(told.lastUpS, lastUpS) }
  return { level: 'info', msg: 'maker up', fields: { maker, ...gone } }
}

function downFor(fromS: number | null, toS: number | null): { downS?: number } {
  return fromS === null || toS === null ? {} : { downS: Math.max(0, toS - fromS) }
}

/** What takers of today hold against a bond, and what its maker can do: a transaction can't be mended, the next one can. */
import { todayRefusalsOf } from '../bonds/today.ts'
import type { AnnouncedOutput, ConfirmedBond, TodayRefusal } from '../bonds/types.ts'
import { AMOUNT_SATS_MIN, lockBlocksOf } from '../bonds/verify.ts'
import { formatOutpoint, type Network } from '../chain/types.ts'

/** After "because": what is so, and how the next bond is to be. */
const BECAUSE: Record<Exclude<TodayRefusal, 'lock-range' | 'text-format' | 'unconfirmed' | 'unread'>, string> = {
  outputs: 'its transaction has more than 3 outputs: make the bond, the announcement and at most one change output',
  'announcement-place': 'they look at output 1 alone, and it is not the announcement: put it right after the bond',
  'announcement-value': 'the output of the announcement has a value: give it 0 sats',
  push: 'the announcement is not one direct push of 1 to 67 bytes that fills its script: leave out PUSHDATA and whatever else is there',
  'leading-zero': 'the height begins with a zero: write it without',
  'locktime-kind': 'its nLockTime is a time: set it to the height of the chain, which is not 0',
  sequences: 'all its inputs have the sequence 0xffffffff: let one have less, 0 for example',
  'not-p2wsh': 'output 0 is no P2WSH output: the bond has to be the first one',
  'too-small': `it has less than ${AMOUNT_SATS_MIN} sats: lock more`,
}

type Judged = AnnouncedOutput & Partial<Pick<ConfirmedBond, 'conf'>>

/** A sentence about a live bond that they skip, without its full stop; undefined for one that they accept. */
export function skippedText(bond: ConfirmedBond, network: Network): string | undefined {
  const refusals = todayRefusalsOf(bond, network)
  if (refusals.length === 0) return undefined
  const name = formatOutpoint(bond.outpoint)
  const known = refusals.filter((refusal) => refusal !== 'unread')
  if (known.length === 0) {
    return `whether today's takers accept the bond ${name} is not known: an older version of this tracker has stored it, and its transaction in block ${bond.conf.height} was not read again yet. That is done by itself within minutes of the start and then every hour, if bitcoind has that block; with one that has pruned it nothing can be done`
  }
  return `today's takers skip the bond ${name} because ${becauseOf(known, bond, network)}. It counts here all the same, but they will not find you by it: make a new bond`
}

/** As `skippedText`, of one that is still in the mempool and is wrong in itself. */
export function skippedPendingText(bond: AnnouncedOutput, network: Network): string | undefined {
  const refusals = todayRefusalsOf(bond, network).filter((refusal) => refusal !== 'unconfirmed' && refusal !== 'unread')
  if (refusals.length === 0) return undefined
  return `today's takers will skip the bond ${formatOutpoint(bond.outpoint)} once it is confirmed, because ${becauseOf(refusals, bond, network)}. Replace its transaction while it is in the mempool`
}

function becauseOf(refusals: readonly TodayRefusal[], bond: Judged, network: Network): string {
  return refusals
    .map((refusal) => {
      const text = becauseText(refusal, bond, network)
      return `${text} (${refusal})`
    })
    .join('; and because ')
}

function becauseText(refusal: TodayRefusal, bond: Judged, network: Network): string {
  if (refusal === 'text-format') return formatText(bond)
  return refusal in BECAUSE ? BECAUSE[refusal as keyof typeof BECAUSE] : lockText(bond, network)
}

/** The announcement is of a format that they do not read, or stands somewhere else than in the output that they read. */
function formatText({ format }: Judged): string {
  const read = 'they read nothing but <56 characters>#<height>, without .onion and without a port'
  const old = OLD_FORMATS[format]
  return old === undefined
    ? `output 1 says something else: ${read}`
    : `it is announced in the old format ${format}, ${old}: ${read}; upgrade the maker`
}

const OLD_FORMATS: Partial<Record<AnnouncedOutput['format'], string>> = {
  A: '<56 characters>.onion:<port>, as makers did until December 2025',
  B: '<56 characters>.onion:<port>#<height>, as makers did until April 2026',
  C: '<56 characters>.onion#<height>, as makers did until May 2026',
}

function lockText({ lockHeight = 0, conf }: Judged, network: Network): string {
  const { min, max } = lockBlocksOf(network)
  return `it is locked until ${lockHeight}, ${lockHeight - (conf?.height ?? 0)} blocks after its confirmation: lock it for ${min} to ${max}`
}

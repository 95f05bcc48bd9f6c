/**
 * Why a transaction announces no bond, for whoever made it: what announcement.ts wants and does not find. Pure.
 */
import type { Transaction } from 'bitcoinjs-lib'
import { printable } from '../format.ts'
import { isOnionLabel } from '../tor/address.ts'
import { onionAddressFault } from '../tor/pasted-address.ts'
import { ANNOUNCEMENT_OUTPUTS } from './announcement.ts'
import { isOpReturn, readOpReturn } from './op-return.ts'

const LIMITS = {
  /** Of a stranger's OP_RETURN. */
  textChars: 100,
}

/** What speaks against it, a sentence without its end each; of a transaction that announces one, nothing of use. */
export function announcementFaults({ locktime, outs }: Pick<Transaction, 'locktime' | 'outs'>): string[] {
  const faults: string[] = []
  const { min, max } = ANNOUNCEMENT_OUTPUTS
  if (locktime === 0) faults.push('its nLockTime is 0: that of a bond is the height of the chain when it was made')
  if (outs.length < min || outs.length > max) {
    const count = outs.length === 1 ? 'a single output' : `${outs.length} outputs`
    faults.push(
      `it has ${count}: bond, announcement and at most one change output are wanted (${min} to ${max} are read)`,
    )
  }
  const said = [...outs.entries()].flatMap(([vout, { script }]) => {
    if (!isOpReturn(script)) return []
    const push = readOpReturn(script)
    if (!push) return [`output ${vout} is OP_RETURN, but not followed by exactly one push and nothing more`]
    const fault = announcementTextFault(Buffer.from(push.data).toString('latin1'))
    return fault === undefined ? [] : [`output ${vout} says ${fault}`]
  })
  if (!outs.some(({ script }) => isOpReturn(script))) {
    said.push('none of its outputs is OP_RETURN, where the announcement would be')
  }
  return [...faults, ...said]
}

/** `"<text>": what is wrong with it`; undefined where it is an announcement's. */
export function announcementTextFault(text: string): string | undefined {
  const fault = faultIn(text)
  return fault && `"${printable(text, LIMITS.textChars)}": ${fault}`
}

function faultIn(text: string): string | undefined {
  const [, label = '', suffix, port, height] = /^([^.:#]*)(\.onion)?(?::([^#]*))?(?:#(.*))?$/s.exec(text) ?? []
  if (!isOnionLabel(label)) {
    if (isOnionLabel(label.toLowerCase())) return 'the name has to be in small letters'
    return label === '' ? 'it is no <56 characters>#<lock height>' : onionAddressFault(label)
  }
  if (port !== undefined && (suffix === undefined || !/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535)) {
    return 'a port stands behind .onion alone, from 1 to 65535 and without zeros before it'
  }
  if (height === undefined) return port === undefined ? '#<lock height> is missing behind the name' : undefined
  if (!/^\d+$/.test(height) || Number(height) > 0xffff_ffff) return 'the lock height is no number'
  return undefined
}

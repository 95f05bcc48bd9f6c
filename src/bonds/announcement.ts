/**
 * Announcements: the OP_RETURN text in which a bond's funding transaction names its maker, read strictly.
 * Formats (docs/protocol.md, "Announcements"): A `<host>.onion:<port>`, B `<host>.onion:<port>#<height>`,
 * C `<host>.onion#<height>`, D `<host>#<height>`; C and D mean port 21. Numbers are digits without a sign. A height may have
 * leading zeros, as the programs of the market have read it; a port may not, so that an announcement has one address.
 */
import type { Transaction } from 'bitcoinjs-lib'
import { asSats, asTxid } from '../chain/types.ts'
import { isOnionLabel } from '../tor/address.ts'
import { opReturnScript, readOpReturn } from './op-return.ts'
import { txRefusalsOf } from './today.ts'
import type { AnnouncedOutput, Announcement } from './types.ts'

const LIMITS = {
  /** The funding transaction: bond, announcement, perhaps change, and a margin for other wallets. */
  outputsMin: 2,
  outputsMax: 5,
}

/** Consensus: no output has more. */
const MONEY_SATS_MAX = 2_100_000_000_000_000n

/** Virtual port of makers whose announcement names none. */
export const DEFAULT_MAKER_PORT = 21

/** Outputs of a transaction that may announce something. */
export const ANNOUNCEMENT_OUTPUTS = { min: LIMITS.outputsMin, max: LIMITS.outputsMax }

/** What a maker has to bring, for people: a sentence without its end. Makers of today write it so; we read some more. */
export const ANNOUNCEMENT_WANTED = `An announcement is a transaction of ${LIMITS.outputsMin} or 3 outputs whose nLockTime is a height and not 0: output 0 is the bond (P2WSH), output 1 has 0 sats and is OP_RETURN with one push and nothing more, the text <56 characters>#<lock height> in ASCII`

const PORT = '([1-9][0-9]{0,4})'
const HEIGHT = '([0-9]+)'
const ONION = new RegExp(`^([a-z2-7]{56})(?:(\\.onion)(?::${PORT})?)?(?:#${HEIGHT})?$`)
const TEST = new RegExp(`^(127\\.0\\.0\\.1:${PORT})(?:#${HEIGHT})?$`)

export interface AnnouncementOptions {
  /** Also take `127.0.0.1:<port>` (as format A) and `127.0.0.1:<port>#<height>` (as format B). */
  allowTestAddresses: boolean
}

/** The announcement of a transaction and the output 0 it stands for; undefined when it announces nothing. */
export function findAnnouncement(tx: Transaction, options: AnnouncementOptions): AnnouncedOutput | undefined {
  if (tx.locktime === 0 || tx.outs.length < LIMITS.outputsMin || tx.outs.length > LIMITS.outputsMax) return undefined
  for (const [vout, { script }] of tx.outs.entries()) {
    const announcement = parseAnnouncementScript(script, options)
    if (!announcement) continue
    const bond = tx.outs[0]!
    if (bond.value < 0n || bond.value > MONEY_SATS_MAX) return undefined // no block has such a one: somebody lies
    return {
      ...announcement,
      outpoint: { txid: asTxid(tx.getId()), vout: 0 },
      amountSats: asSats(bond.value),
      isP2wsh: isP2wsh(bond.script),
      txRefusals: txRefusalsOf(tx, vout),
    }
  }
  return undefined
}

/** Reads an output script: OP_RETURN, exactly one push, nothing after it. */
export function parseAnnouncementScript(script: Uint8Array, options: AnnouncementOptions): Announcement | undefined {
  const push = readOpReturn(script)
  return push && parseAnnouncementText(Buffer.from(push.data).toString('latin1'), options)
}

export function parseAnnouncementText(text: string, options: AnnouncementOptions): Announcement | undefined {
  const onion = ONION.exec(text)
  if (onion) {
    const [, label, suffix, port, height] = onion
    if (!isOnionLabel(label!)) return undefined
    if (port !== undefined) {
      return isPort(port) ? withHeight({ format: 'A', address: `${label}.onion:${port}` }, 'B', height) : undefined
    }
    if (height === undefined) return undefined
    const format = suffix === undefined ? 'D' : 'C'
    return withHeight({ format, address: `${label}.onion:${DEFAULT_MAKER_PORT}` }, format, height)
  }
  const test = options.allowTestAddresses ? TEST.exec(text) : null
  if (!test) return undefined
  const [, address, port, height] = test
  return isPort(port!) ? withHeight({ format: 'A', address: address! }, 'B', height) : undefined
}

/** `formatWithHeight` is the format it becomes when a height is announced. */
function withHeight(
  announcement: Announcement,
  formatWithHeight: Announcement['format'],
  height: string | undefined,
): Announcement | undefined {
  if (height === undefined) return announcement
  const lockHeight = Number(height)
  return lockHeight <= 0xffffffff ? { ...announcement, format: formatWithHeight, lockHeight } : undefined
}

function isPort(digits: string): boolean {
  return Number(digits) >= 1 && Number(digits) <= 65535
}

/** OP_0 and a push of 32 bytes (BIP141). */
export function isP2wsh(script: Uint8Array): boolean {
  return script.length === 34 && script[0] === 0x00 && script[1] === 0x20
}

/** The text of an announcement; `address` as in Announcement. */
export function formatAnnouncement({ format, address, lockHeight }: Announcement): string {
  const host = address.slice(0, address.lastIndexOf(':'))
  switch (format) {
    case 'A':
      return address
    case 'B':
      return `${address}#${lockHeight}`
    case 'C':
      return `${host}#${lockHeight}`
    case 'D':
      return `${host.replace(/\.onion$/, '')}#${lockHeight}`
  }
}

/** OP_RETURN and one push, as the Rust programs write it. */
export function announcementScript(text: string): Buffer {
  return opReturnScript(Buffer.from(text, 'latin1'))
}

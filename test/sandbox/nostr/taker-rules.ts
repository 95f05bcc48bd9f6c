/**
 * What takers of today's market demand of a bond's transaction, judged from bitcoind's words alone and written a second time
 * on purpose: the tracker's own rules (src/bonds) must come to the same. Eras: `today`, since September 2026; `b5fade03`, the
 * program of 2026-08-19. Source: docs/nostr.md.
 */
import { createHash } from 'node:crypto'
import type { Regtest } from '../regtest.ts'

export type Era = 'today' | 'b5fade03'

/** Of bitcoind's verbose transaction: what is looked at. Amounts in BTC. */
export interface VerboseTransaction {
  locktime: number
  vin: { sequence: number }[]
  vout: { value: number; scriptPubKey: { hex: string } }[]
}

export interface LookedUp {
  transaction: VerboseTransaction
  /** Undefined while unconfirmed. */
  confHeight: number | undefined
  /** Of output 0, spends in the mempool counted. */
  isUnspent: boolean
}

/** The taker's own backend. */
export interface TakerChain {
  tipHeight(): Promise<number>
  /** Undefined: not to be had. */
  look(txid: string): Promise<LookedUp | undefined>
}

/** `node` needs -txindex, as a real taker's does. */
export function chainOf(node: Regtest): TakerChain {
  return {
    tipHeight: () => node.height(),
    async look(txid) {
      const found = await node
        .rpc<VerboseTransaction & { blockhash?: string; confirmations?: number }>('getrawtransaction', txid, true)
        .catch((error) => {
          if (error.code === -5) return undefined
          throw error
        })
      if (!found) return undefined
      const { blockhash, confirmations = 0, ...transaction } = found
      const isConfirmed = blockhash !== undefined && confirmations > 0
      const header = isConfirmed ? await node.rpc<{ height: number }>('getblockheader', blockhash) : undefined
      const isUnspent = (await node.rpc('gettxout', txid, 0, true)) !== null
      return { transaction, confHeight: header?.height, isUnspent }
    },
  }
}

/** Why `host`, without its `.onion`, is no v3 onion name; undefined when it is one. */
export function onionFault(host: string): string | undefined {
  if (!/^[a-z2-7]{56}$/.test(host)) return 'not 56 lower-case base32 characters'
  let bits = 0n
  for (const char of host) bits = (bits << 5n) | BigInt('abcdefghijklmnopqrstuvwxyz234567'.indexOf(char))
  const bytes = Buffer.from(bits.toString(16).padStart(70, '0'), 'hex')
  const [publicKey, checksum, version] = [bytes.subarray(0, 32), bytes.subarray(32, 34), bytes[34]!]
  if (version !== 3) return 'onion version is not 3'
  const expected = createHash('sha3-256')
    .update('.onion checksum')
    .update(publicKey)
    .update(Buffer.from([3]))
    .digest()
  return checksum.equals(expected.subarray(0, 2)) ? undefined : 'onion checksum is wrong'
}

/** The data of `OP_RETURN <push>`. `isStrict`: one direct push of 1 to 67 bytes that fills the script. */
function opReturnData(script: Buffer, isStrict: boolean): Buffer | undefined {
  const [opReturn, op, length8] = script
  if (opReturn !== 0x6a || op === undefined) return undefined
  let [start, length] = [0, 0]
  if (op >= 1 && op <= 75) [start, length] = [2, op]
  else if (op === 0x4c) [start, length] = [3, length8 ?? 0]
  else if (op === 0x4d && script.length > 3) [start, length] = [4, script.readUInt16LE(2)]
  if (length < 1 || start + length > script.length) return undefined
  if (isStrict && (start !== 2 || length > 67 || start + length !== script.length)) return undefined
  return script.subarray(start, start + length)
}

interface Announcement {
  host: string
  lockHeight: number
}

/** Of the first output that announces. `refusals` gains what speaks against the others. */
function announcementIn({ vout }: VerboseTransaction, era: Era, refusals: string[]): Announcement | undefined {
  const isToday = era === 'today'
  for (const { value, scriptPubKey } of isToday ? vout.slice(1, 2) : vout) {
    const data = opReturnData(Buffer.from(scriptPubKey.hex, 'hex'), isToday)
    if (!data) continue
    const found = isToday ? strictText(data.toString('utf8')) : looseText(data.toString('utf8'))
    if (isToday && sats(value) !== 0) refusals.push('announcement-value')
    else if (typeof found === 'string') refusals.push(found)
    else if (found) return found
  }
  return undefined
}

/** `<56>#<height>`; a text where that is nearly so. */
function strictText(text: string): Announcement | string | undefined {
  const [, host, digits] = /^([^#]+)#([1-9][0-9]*)$/.exec(text) ?? []
  if (host === undefined || Number(digits) > 0xffff_ffff) return undefined
  const fault = onionFault(host)
  return fault === undefined ? { host, lockHeight: Number(digits) } : `onion: ${fault}`
}

/** `<any name without a dot>[.onion]#<height>`. */
function looseText(text: string): Announcement | undefined {
  const [, before, digits] = /^([^#]*)#\+?([0-9]+)$/.exec(text) ?? []
  const host = before?.replace(/\.onion$/, '')
  if (!host || host.includes('.') || Number(digits) > 0xffff_ffff) return undefined
  return { host, lockHeight: Number(digits) }
}

const sats = (btc: number) => Math.round(btc * 1e8)

export interface Judgement {
  /** Words; none: accepted. */
  refusals: string[]
  /** `<56>.onion`. */
  host: string | undefined
  lockHeight: number | undefined
}

export interface JudgeOptions {
  era?: Era
  /** Blocks from confirmation to lock, both ends included. */
  lockRange?: readonly [number, number]
}

export function judgeTransaction(
  transaction: VerboseTransaction,
  confHeight: number | undefined,
  tipHeight: number,
  { era = 'today', lockRange = [12_960, 25_920] }: JudgeOptions = {},
): Judgement {
  const isToday = era === 'today'
  const { locktime, vin, vout } = transaction
  const refusals: string[] = []
  if (vout.length < 2 || vout.length > (isToday ? 3 : 5)) refusals.push('outputs')
  if (locktime === 0 || (isToday && locktime >= 500_000_000)) refusals.push('nlocktime')
  const announced = announcementIn(transaction, era, refusals)
  if (!announced) refusals.push('no-announcement')
  const bond = vout[0]
  if (isToday && bond) {
    if (!/^0020[0-9a-f]{64}$/.test(bond.scriptPubKey.hex)) refusals.push('not-p2wsh')
    if (sats(bond.value) < 10_000) refusals.push('too-small')
    if (vin.every(({ sequence }) => sequence === 0xffff_ffff)) refusals.push('sequences-final')
  }
  if (announced) {
    const lockBlocks = announced.lockHeight - (confHeight ?? tipHeight)
    const isInRange = confHeight === undefined || (lockBlocks >= lockRange[0] && lockBlocks <= lockRange[1])
    if (isToday && !isInRange) refusals.push('lock-range')
    if (announced.lockHeight <= tipHeight) refusals.push('lock-passed')
  }
  return { refusals, host: announced && `${announced.host}.onion`, lockHeight: announced?.lockHeight }
}

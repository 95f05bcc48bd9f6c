/**
 * The bond's redeem script: `<publicKey> OP_CHECKSIGVERIFY <lockHeight> OP_CHECKLOCKTIMEVERIFY`, paid to as P2WSH.
 * Sources: docs/protocol.md ("The bond output"), BIP65, BIP141. The chain shows only its hash until the bond is spent.
 */
import { payments, script } from 'bitcoinjs-lib'
import type { Height } from '../chain/types.ts'

const OP_CHECKSIGVERIFY = 0xad
const OP_CHECKLOCKTIMEVERIFY = 0xb1

export interface BondScript {
  /** 33 bytes, compressed. */
  publicKey: Uint8Array
  lockHeight: Height
}

export function buildRedeemScript({ publicKey, lockHeight }: BondScript): Buffer {
  // Heights 0 and 1–16 have opcodes of their own; compile() of the number's bytes makes the shortest push of each.
  const height = script.number.encode(lockHeight)
  return Buffer.from(script.compile([publicKey, OP_CHECKSIGVERIFY, height, OP_CHECKLOCKTIMEVERIFY]))
}

/** Reads exactly the form above, with the shortest push of the height; undefined for anything else. */
export function parseRedeemScript(redeemScript: Uint8Array): BondScript | undefined {
  if (redeemScript.length < 37 || redeemScript[0] !== 33) return undefined
  const publicKey = redeemScript.subarray(1, 34)
  const lockHeight = readHeight(redeemScript.subarray(35, -1))
  if (lockHeight === undefined) return undefined
  const parsed = { publicKey, lockHeight }
  return buildRedeemScript(parsed).equals(redeemScript) ? parsed : undefined
}

function readHeight(push: Uint8Array): Height | undefined {
  const opcode = push[0]!
  if (push.length === 1) {
    if (opcode === 0) return 0
    return opcode >= 0x51 && opcode <= 0x60 ? opcode - 0x50 : undefined
  }
  if (opcode !== push.length - 1 || opcode > 5) return undefined
  const height = script.number.decode(push.subarray(1), 5, false)
  return height >= 0 ? height : undefined
}

/** `OP_0 <SHA-256(redeemScript)>`, 34 bytes. */
export function p2wshScriptPubKey(redeemScript: Uint8Array): Buffer {
  return Buffer.from(payments.p2wsh({ redeem: { output: redeemScript } }).output!)
}

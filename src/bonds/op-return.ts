/** OP_RETURN outputs with one push and nothing else: how announcements are written. */

const OP_RETURN = 0x6a
const OP_PUSHDATA1 = 0x4c
const OP_PUSHDATA2 = 0x4d
/** The longest data whose length is its opcode. */
const DIRECT_BYTES_MAX = 0x4b

export interface OpReturn {
  data: Uint8Array
  /** The opcode is the length: no PUSHDATA before it. */
  isDirect: boolean
}

export function isOpReturn(script: Uint8Array): boolean {
  return script[0] === OP_RETURN
}

/** Reads OP_RETURN and exactly one push (direct, PUSHDATA1 or PUSHDATA2) that fills the script; undefined for anything else. */
export function readOpReturn(script: Uint8Array): OpReturn | undefined {
  const opcode = script[1]
  if (!isOpReturn(script) || opcode === undefined) return undefined
  let start: number
  let length: number
  if (opcode >= 0x01 && opcode <= DIRECT_BYTES_MAX) {
    start = 2
    length = opcode
  } else if (opcode === OP_PUSHDATA1 && script.length > 2) {
    start = 3
    length = script[2]!
  } else if (opcode === OP_PUSHDATA2 && script.length > 3) {
    start = 4
    length = script[2]! | (script[3]! << 8)
  } else {
    return undefined
  }
  return script.length === start + length ? { data: script.subarray(start), isDirect: start === 2 } : undefined
}

/** As the Rust programs write it: PUSHDATA1 above 75 bytes. */
export function opReturnScript(data: Uint8Array): Buffer {
  const push = data.length <= DIRECT_BYTES_MAX ? [data.length] : [OP_PUSHDATA1, data.length]
  return Buffer.concat([Buffer.of(OP_RETURN, ...push), data])
}

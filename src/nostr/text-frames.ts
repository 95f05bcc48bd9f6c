/**
 * Text messages as a server's WebSocket frames, many in one buffer: forty events are one write to the socket and one piece
 * of memory, where the library makes eighty of each. Source: RFC 6455, section 5.2. Pure.
 */

const FINAL_TEXT = 0x81

/** Whole, unmasked, uncompressed. */
export function textFrames(texts: readonly string[]): Buffer {
  const lengths = texts.map((text) => Buffer.byteLength(text))
  const frames = Buffer.allocUnsafeSlow(lengths.reduce((sum, length) => sum + headBytes(length) + length, 0))
  let at = 0
  for (const [i, text] of texts.entries()) {
    at = writeHead(frames, at, lengths[i]!)
    at += frames.write(text, at)
  }
  return frames
}

function headBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10
}

/** Returns where the payload begins. */
function writeHead(frames: Buffer, at: number, length: number): number {
  frames[at] = FINAL_TEXT
  if (length < 126) frames[at + 1] = length
  else if (length < 65_536) {
    frames[at + 1] = 126
    frames.writeUInt16BE(length, at + 2)
  } else {
    frames[at + 1] = 127
    frames.writeBigUInt64BE(BigInt(length), at + 2)
  }
  return at + headBytes(length)
}

/** Frames in pieces of every size, and lengths that lie. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, FrameReader, FrameTooLarge, frameHead } from '../../../src/wire/frame.ts'

function readAll(reader: FrameReader, chunks: Iterable<Buffer>): string[] {
  const payloads: string[] = []
  for (const chunk of chunks) {
    reader.push(chunk)
    for (let payload = reader.next(); payload; payload = reader.next()) payloads.push(payload.toString('hex'))
  }
  return payloads
}

test('a frame is length, prefix and payload, the prefix counted', () => {
  assert.equal(encodeFrame(Buffer.from('63476574', 'hex')).toString('hex'), '0000000463476574')
  assert.equal(encodeFrame(Buffer.from('63476574', 'hex'), 2).toString('hex'), '000000050263476574')
  assert.equal(frameHead(0x01020304).toString('hex'), '01020304')
})

test('three frames cut in two at every byte come out whole', () => {
  const payloads = [Buffer.from('63476574', 'hex'), Buffer.alloc(0), Buffer.alloc(300, 7)]
  const bytes = Buffer.concat(payloads.map((payload) => encodeFrame(payload)))
  const expected = payloads.map((payload) => payload.toString('hex'))
  for (let at = 0; at <= bytes.length; at++) {
    const reader = new FrameReader(1_000)
    assert.deepEqual(readAll(reader, [bytes.subarray(0, at), bytes.subarray(at)]), expected, `cut at ${at}`)
    assert.equal(reader.isMidFrame, false)
  }
})

test('any payloads in any pieces come out whole and in order', () => {
  const anyPayloads = fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 8 })
  fc.assert(
    fc.property(anyPayloads, fc.infiniteStream(fc.integer({ min: 1, max: 700 })), (payloads, sizes) => {
      const bytes = Buffer.concat(payloads.map((payload) => encodeFrame(payload)))
      const chunks: Buffer[] = []
      for (let at = 0; at < bytes.length; ) {
        const size = sizes.next().value as number
        chunks.push(bytes.subarray(at, at + size))
        at += size
      }
      const expected = payloads.map((payload) => Buffer.from(payload).toString('hex'))
      assert.deepEqual(readAll(new FrameReader(600), chunks), expected)
      const reader = new FrameReader(600)
      for (const chunk of chunks) reader.push(chunk)
      assert.deepEqual(readAll(reader, [Buffer.alloc(0)]), expected, 'all chunks pushed before the first is read')
    }),
  )
})

test('it knows whether a frame is begun', () => {
  const reader = new FrameReader(100)
  const bytes = encodeFrame(Buffer.alloc(3))
  assert.equal(reader.isMidFrame, false)
  for (const [at, byte] of bytes.entries()) {
    reader.push(Buffer.of(byte))
    const payload = reader.next()
    assert.equal(payload !== undefined, at === bytes.length - 1)
    assert.equal(reader.isMidFrame, payload === undefined)
  }
})

test('a length over the limit is refused as soon as it is read, whole or in pieces', () => {
  assert.equal(readAll(new FrameReader(10), [encodeFrame(Buffer.alloc(10))]).length, 1)
  const whole = new FrameReader(10)
  whole.push(frameHead(11))
  assert.throws(() => whole.next(), FrameTooLarge)
  const inPieces = new FrameReader(10)
  for (const byte of frameHead(0xffffffff).subarray(0, 3)) inPieces.push(Buffer.of(byte))
  assert.equal(inPieces.next(), undefined)
  inPieces.push(Buffer.of(0xff))
  assert.throws(() => inPieces.next(), /4294967295 bytes was announced, 10 are allowed/)
})

test('a long frame, byte by byte, is read whole with little memory', () => {
  const payload = Buffer.alloc(4_000_000, 1)
  const bytes = encodeFrame(payload)
  const reader = new FrameReader(payload.length)
  const before = process.memoryUsage().arrayBuffers
  let read: Buffer | undefined
  for (let at = 0; at < bytes.length; at++) {
    reader.push(bytes.subarray(at, at + 1))
    read = reader.next()
  }
  assert(read?.equals(payload))
  assert(process.memoryUsage().arrayBuffers - before < 40_000_000)
})

test('an announced length alone reserves nothing', () => {
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 100 }, () => new FrameReader(16_777_216))
  for (const reader of readers) {
    reader.push(Buffer.concat([frameHead(16_777_216), Buffer.alloc(1_000)]))
    assert.equal(reader.next(), undefined)
    assert.equal(reader.isMidFrame, true)
  }
  assert(process.memoryUsage().arrayBuffers - before < 20_000_000)
})

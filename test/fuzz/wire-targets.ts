/** What strangers, other trackers and makers say to us. */
import assert from 'node:assert/strict'
import type { ProofFacts } from '../../src/bonds/proof.ts'
import { verifyProof } from '../../src/bonds/verify-proof.ts'
import { asSats } from '../../src/chain/types.ts'
import { TransientError } from '../../src/errors.ts'
import { DIALECT } from '../../src/peers/dialects.ts'
import { CborError, decode, encode } from '../../src/wire/cbor.ts'
import { encodeFrame, FrameReader, FrameTooLarge } from '../../src/wire/frame.ts'
import { encodeReply, encodeRequest, NotAReply, parseReply, parseRequest, type Reply } from '../../src/wire/messages.ts'
import { readProxyLine } from '../../src/wire/proxy-line.ts'
import { bondRowOf, statusRowOf, trackerRowOf, whyRowOf } from '../../src/wire/rows.ts'
import { walkBonds } from '../../src/wire/walk.ts'
import { bondKey } from '../sandbox/bond-key.ts'
import type { LIES, LieName } from '../sandbox/lies.ts'
import { offerMessage, type Release } from '../sandbox/offer.ts'
import { hashOf, txidOf } from '../support/bonds.ts'
import { hex, PROOFS, publishedKeys, publishedProof, WIRE_V1, WIRE_V2 } from '../support/vectors.ts'
import type { Target } from './fuzz.ts'
import { mutate, mutateCbor } from './mutate.ts'
import { refusing } from './refusing.ts'

const FRAME_BYTES_MAX = 65_536
const payloads = [...WIRE_V1, ...WIRE_V2].map(({ cbor }) => hex(cbor))
const outpoint = { txid: txidOf(1), vout: 0 }

const requests = [
  ...payloads,
  encodeRequest({ type: 'Status' }),
  encodeRequest({ type: 'Trackers' }),
  encodeRequest({ type: 'Bonds', after: outpoint, limit: 10, minValue: 1, all: true }),
  encodeRequest({ type: 'BondProof', outpoint }),
  encodeRequest({ type: 'WatchMany', outpoints: [outpoint, outpoint] }),
  encodeRequest({ type: 'Register', outpoints: [outpoint], ttlBlocks: 10 }),
  encodeRequest({ type: 'Why', address: '127.0.0.1:1' }),
  ...(['expiry', 'tweak-point'] as const).map((era) => {
    const metadata = { url: PROOFS[era].makerAddress, proof: publishedProof(era), ...publishedKeys(era) }
    return encodeRequest({ type: 'Post', metadata })
  }),
]

const bondFields = {
  outpoint,
  ...{ address: '127.0.0.1:1', amountSats: 50_000, confHeight: 10, blockHash: hashOf(10), blockTimeS: 1 },
  ...{ lockHeight: 15_000, value: 7, format: 'D' as const, state: 'live' as const, proven: true },
  ...{ reach: 'up' as const, lastUpS: 5, probes: 3, uptimePpm: 1_000_000 },
}
const tip = { height: 10, blockHash: hashOf(10), digest: Buffer.alloc(32, 7) }
const bondsPage = encodeReply({ type: 'Bonds', ...tip, total: 2, bonds: [bondFields], next: outpoint })
const replies = [
  ...payloads,
  bondsPage,
  encodeReply({ type: 'Pong', address: '127.0.0.1:1', version: '1', network: 'regtest', ...tip }),
  encodeReply({ type: 'Trackers', trackers: [{ address: 'a:1', lastSeenS: 1, height: 1, digest: tip.digest }] }),
  encodeReply({ type: 'Why', address: 'a:1', listed: false, reasons: [{ code: 'down', text: 'x', outpoint }] }),
  encodeReply({
    type: 'BondProof',
    tx: Buffer.alloc(70),
    header: Buffer.alloc(80),
    height: 1,
    merkle: Buffer.alloc(90),
  }),
]

const frames: Target = {
  name: 'frames',
  seeds: [...WIRE_V1, ...WIRE_V2].map(({ frame }) => hex(frame)),
  take(input, chance) {
    const reader = new FrameReader(FRAME_BYTES_MAX)
    let taken = 0
    refusing([FrameTooLarge], () => {
      for (let at = 0; at < input.length; ) {
        const size = 1 + chance.below(chance.oneIn(2) ? 3 : 5_000)
        reader.push(input.subarray(at, at + size))
        at += size
        for (let payload = reader.next(); payload; payload = reader.next()) {
          assert(payload.length <= FRAME_BYTES_MAX)
          taken += 4 + payload.length
        }
      }
    })
    assert(taken <= input.length, 'no byte is read twice')
  },
}

const proxyLine: Target = {
  name: 'proxy-line',
  seeds: [
    'PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 65535 42\r\n',
    'PROXY TCP4 10.0.0.1 127.0.0.1 1 80\r\n',
    'PROXY UNKNOWN\r\n',
    'PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n',
  ].map((text) => Buffer.concat([Buffer.from(text, 'latin1'), encodeFrame(requests[0]!)])),
  take(input) {
    const whole = readProxyLine(input)
    if (whole.kind !== 'line') return
    assert(whole.bytes <= input.length && input.toString('latin1', whole.bytes - 2, whole.bytes) === '\r\n')
    for (let cut = 0; cut < whole.bytes; cut++) {
      assert.equal(readProxyLine(input.subarray(0, cut)).kind === 'line', false, 'half a line is none')
    }
  },
}

const cbor: Target = {
  name: 'cbor',
  seeds: requests,
  isCbor: true,
  take: (input) => refusing([CborError], () => void decode(input)),
}

const requestTarget: Target = {
  name: 'requests',
  seeds: requests,
  isCbor: true,
  take(input) {
    const parsed = parseRequest(input)
    if (!parsed.ok) return assert(parsed.message.length < 2_000, 'a refusal is short, whatever was said')
    const again = parseRequest(encodeRequest(parsed.request))
    assert.deepEqual(again, parsed, 'what was read is what we would say')
  },
}

const replyTarget: Target = {
  name: 'replies',
  seeds: replies,
  isCbor: true,
  take: (input) => refusing([NotAReply], () => show(parseReply(input))),
}

/** As the verbs that ask other trackers show it. */
function show(reply: Reply): void {
  if (reply.type === 'Bonds') for (const fields of reply.bonds) bondRowOf(fields, reply.height)
  if (reply.type === 'Status') statusRowOf(reply)
  if (reply.type === 'Trackers') reply.trackers.forEach(trackerRowOf)
  if (reply.type === 'Why') whyRowOf(reply)
}

const WALKED_PAGES = 8

const walk: Target = {
  name: 'walk',
  seeds: [bondsPage],
  isCbor: true,
  take(input, chance) {
    let pages = 0
    const ask = async () => {
      if (pages++ > WALKED_PAGES) throw new TransientError('enough')
      const payload = pages === 1 ? input : (mutateCbor(bondsPage, chance) ?? mutate([bondsPage], chance))
      return parseReply(payload)
    }
    return refusing([TransientError, NotAReply], async () => void (await walkBonds(ask, { limit: 10 })))
  },
}

const CONF_HEIGHT = 200
const offered = {
  outpoint,
  ...{ amountSats: 50_000, lockHeight: 15_000, confHeight: CONF_HEIGHT, key: bondKey('fuzz') },
  certAddress: '127.0.0.1:6102',
}
const RELEASES: readonly Release[] = ['0.1.2', '0.1.3-taproot', '0.2.0', '0.2.1', '0.2.2', 'today']
const offers = [
  ...RELEASES.map((release) => encode(offerMessage(offered, { release }))),
  ...(['cert-hash', 'bond-index', 'signature', 'high-s'] satisfies LieName[]).map((name: keyof typeof LIES) =>
    encode(offerMessage(offered, { lie: { name, otherKey: bondKey('fuzz', 1) } })),
  ),
]
const facts: ProofFacts = {
  output: { amountSats: asSats(50_000), scriptPubKey: Buffer.alloc(34), confHeight: CONF_HEIGHT, isUnspent: true },
  announcement: { format: 'B', address: offered.certAddress, lockHeight: 15_000 },
  tipHeight: CONF_HEIGHT + 6,
  lockBlocks: { min: 1, max: 25_920 },
}

const makers: Target = {
  name: 'makers',
  seeds: [...offers, ...payloads],
  isCbor: true,
  take(input) {
    for (const { asks } of Object.values(DIALECT)) {
      for (const { read } of asks) {
        const answer = read(input)
        if (!answer.ok || answer.reply.type !== 'offer') continue
        const { proof, tweakablePoint, tweakChainCode } = answer.reply.offer
        verifyProof(proof, { tweakablePoint, ...(tweakChainCode && { tweakChainCode }) }, facts, offered.certAddress)
      }
    }
  },
}

export const WIRE_TARGETS = [frames, proxyLine, cbor, requestTarget, replyTarget, walk, makers]

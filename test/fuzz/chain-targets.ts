/** What bitcoind, Tor and the operator give us, damaged: and what miners and makers may have put into it. */
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transaction } from 'bitcoinjs-lib'
import {
  announcementScript,
  findAnnouncement,
  formatAnnouncement,
  parseAnnouncementText,
} from '../../src/bonds/announcement.ts'
import { verifyBondProof } from '../../src/bonds/spv.ts'
import { describeAnswer, isJsonBody, isNoRoom, repliesIn } from '../../src/chain/answers.ts'
import { assertTransactions, assertWitnesses, merkleRoot } from '../../src/chain/block-proof.ts'
import {
  blockHashOf,
  findSpendersInBlock,
  hash256,
  hashesIn,
  inputsInBlock,
  inputsOf,
  MalformedError,
  outpointsSpentBy,
  scanBlock,
  scanTransaction,
  txidOf,
} from '../../src/chain/decode.ts'
import { ANSWER_LIMITS, AnswerReader, type HttpAnswer, OddHttp } from '../../src/chain/http-answer.ts'
import { readMerkleBlock } from '../../src/chain/merkle-block.ts'
import { OutpointKeys } from '../../src/chain/outpoint-keys.ts'
import { Slabs } from '../../src/chain/slabs.ts'
import { cutTxids } from '../../src/chain/txid-listing.ts'
import { TxidKey } from '../../src/chain/txid-set.ts'
import { asTxid, formatOutpoint, parseOutpoint, toInternal } from '../../src/chain/types.ts'
import { readConfig } from '../../src/config.ts'
import { ConfigError } from '../../src/errors.ts'
import { formatHostPort, isOnionHost, parseHostPort, parseMakerName } from '../../src/tor/address.ts'
import { txidOf as aTxid } from '../support/bonds.ts'
import type { Target } from './fuzz.ts'
import { refusing } from './refusing.ts'

const LABEL = '4tbnipjzkqnxhhkddoifgl3ruyrbx3nrteonblcpt4p6m5m324vx46yd'
const OPTIONS = { allowTestAddresses: true }
const keys = new OutpointKeys(Buffer.alloc(16, 9))

function transaction(i: number, text: string, { coinbase = false } = {}): Transaction {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = coinbase ? 0 : 100
  const index = coinbase ? 0xffff_ffff : i
  tx.addInput(coinbase ? Buffer.alloc(32) : toInternal(aTxid(i)), index, 0xffff_fffe, Buffer.alloc(i))
  tx.addOutput(Buffer.concat([Buffer.of(0, 32), Buffer.alloc(32, i)]), 50_000n)
  tx.addOutput(announcementScript(text), 0n)
  if (!coinbase && i % 2 === 0) tx.setWitness(0, [Buffer.alloc(71, i), Buffer.alloc(33, 2)])
  return tx
}

const transactions = [
  transaction(1, `${LABEL}.onion:6102`),
  transaction(2, `${LABEL}#15000`),
  transaction(4, '127.0.0.1:6102#15000'),
]

/** A whole block, its witnesses committed to, under a true root. */
function aBlock(): Buffer {
  const coinbase = transaction(3, 'x'.repeat(36), { coinbase: true })
  const reserved = Buffer.alloc(32)
  const wtxids = [Buffer.alloc(32), ...transactions.map((tx) => Buffer.from(tx.getHash(true)))]
  const commitment = Buffer.concat([merkleRoot(Buffer.concat(wtxids)), reserved])
  coinbase.addOutput(Buffer.concat([Buffer.from('6a24aa21a9ed', 'hex'), hash256(commitment)]), 0n)
  coinbase.setWitness(0, [reserved])
  const all = [coinbase, ...transactions].map((tx) => tx.toBuffer())
  const block = Buffer.concat([Buffer.alloc(80, 5), Buffer.of(all.length), ...all])
  merkleRoot(hashesIn(block, 'txid')).copy(block, 36)
  assertTransactions(block)
  assertWitnesses(block)
  return block
}

const block = aBlock()

const blocks: Target = {
  name: 'blocks',
  seeds: [block],
  take(input) {
    const wanted = [{ txid: aTxid(1), vout: 1 }]
    refusing([MalformedError], () => {
      const { candidates } = scanBlock(input, blockHashOf(input), keys, { withTxids: true })
      candidates.forEach(readCandidate)
    })
    refusing([MalformedError], () => void findSpendersInBlock(input, wanted))
    refusing([MalformedError], () => void inputsInBlock(input, [0, 1, 1_000]))
    refusing([MalformedError], () => assertTransactions(input))
    refusing([MalformedError], () => assertWitnesses(input))
  },
}

const mempool: Target = {
  name: 'transactions',
  seeds: transactions.map((tx) => Buffer.from(tx.toBuffer())),
  take(input) {
    refusing([MalformedError], () => {
      const { candidate } = scanTransaction(txidOf(input), input, keys)
      if (candidate) readCandidate(candidate)
    })
    refusing([MalformedError], () => void inputsOf(input, [{ txid: aTxid(1), vout: 1 }]))
    refusing([MalformedError], () => void outpointsSpentBy(input, [0, 1_000]))
  },
}

/** As the indexer reads what has the outer shape of an announcement. */
function readCandidate(raw: Uint8Array): void {
  findAnnouncement(Transaction.fromBuffer(raw), OPTIONS)
}

/** A merkleblock of one transaction: header, count, hashes, flags. */
const leaf = Buffer.from(transactions[0]!.getHash(false))
const merkle = (() => {
  const header = Buffer.alloc(80, 5)
  leaf.copy(header, 36)
  header.writeUInt32LE(0x207fffff, 72)
  return Buffer.concat([header, Buffer.of(1, 0, 0, 0, 1), leaf, Buffer.of(1, 1)])
})()
const twoLeaves = Buffer.concat([
  merkle.subarray(0, 80),
  Buffer.of(2, 0, 0, 0, 2),
  leaf,
  Buffer.alloc(32, 8),
  Buffer.of(1, 3),
])

const proofs: Target = {
  name: 'merkle',
  seeds: [merkle, twoLeaves],
  take(input, chance) {
    readMerkleBlock(input)
    const tx = chance.oneIn(2) ? transactions[0]!.toBuffer() : chance.bytes(90)
    const claim = { outpoint: { txid: asTxid(transactions[0]!.getId()), vout: 0 } }
    verifyBondProof({ tx, header: input.subarray(0, 80), height: 1, merkle: input }, claim, {
      network: 'regtest',
      ...OPTIONS,
    })
  },
}

const announcements: Target = {
  name: 'announcements',
  seeds: [
    ...[`${LABEL}.onion:6102`, `${LABEL}.onion:6102#15000`, `${LABEL}.onion#15000`, `${LABEL}#15000`],
    ...['127.0.0.1:6102#15000', '127.0.0.1:6102', `${'ab'.repeat(32)}:0`, '[::1]:80', `${LABEL}.onion`],
  ].map((text) => Buffer.from(text, 'latin1')),
  take(input) {
    const text = input.toString('latin1')
    const announcement = parseAnnouncementText(text, OPTIONS)
    const plain = text.replace(/#0+(?=\d)/, '#')
    if (announcement) assert.equal(formatAnnouncement(announcement), plain, 'one text, one reading')
    const outpoint = parseOutpoint(text)
    if (outpoint) assert.equal(formatOutpoint(outpoint), text)
    const address = parseHostPort(text)
    if (address) assert.deepEqual(parseHostPort(formatHostPort(address)), address)
    parseMakerName(text, OPTIONS)
    isOnionHost(text)
  },
}

const asked = [
  { id: 7, method: 'getblock' },
  { id: 8, method: 'gettxout' },
]
const answers: Target = {
  name: 'answers',
  seeds: [
    '[{"result":{"height":1},"error":null,"id":7},{"result":null,"error":{"code":-5,"message":"no"},"id":8}]',
    '{"result":null,"error":{"code":-28,"message":"Loading block index…"},"id":7}',
    'Work queue depth exceeded',
    '<html><body>502 Bad Gateway</body></html>',
  ].map((text) => Buffer.from(text)),
  take(input, chance) {
    const status = chance.pick([200, 400, 401, 403, 404, 429, 500, 502, 503])
    isNoRoom(status, input)
    const described = describeAnswer(status, input.toString('latin1'), input)
    assert(described.length < 1_000, 'an answer is described in short, whatever was said')
    try {
      repliesIn(status, input, asked)
    } catch (error) {
      assert(error instanceof Error && /^it refuses with|^its replies are to other/.test(error.message), error as Error)
    }
  },
}

const someTxids = [aTxid(1), aTxid(2), aTxid(3)]
const listings: Target = {
  name: 'listings',
  seeds: [
    JSON.stringify({ result: { txids: someTxids, mempool_sequence: 9 }, error: null, id: 7 }),
    JSON.stringify({ id: 7, result: { mempool_sequence: 9, txids: someTxids } }, null, 1),
    '{"result":{"txids":[],"mempool_sequence":9},"error":null,"id":7}',
  ].map((text) => Buffer.from(text)),
  async take(input) {
    const key = new TxidKey(keys)
    let taken = 0
    let left: string
    try {
      left = (await cutTxids(input, (text, at) => key.read(text, at) && ++taken > 0)).toString()
    } catch (error) {
      assert(error instanceof Error && /^its list of transactions is none/.test(error.message), error as Error)
      return
    }
    if (taken > 0)
      assert.equal(isJsonBody(Buffer.from(left)), isJsonBody(input), 'what is left is as good as the whole')
  },
}

const HTTP_LIMITS = { bytes: 300 }
/** The answer whose bytes come in pieces, each at most as long as `next` says; undefined when it isn't whole. */
function httpAnswerOf(input: Buffer, next: () => number): HttpAnswer | undefined {
  const reader = new AnswerReader(Buffer.alloc(ANSWER_LIMITS.chunkBytes), new Slabs(), HTTP_LIMITS.bytes)
  for (let at = 0; at < input.length; ) {
    const room = reader.room()
    assert(room.length > 0, 'there is room for what comes next')
    const count = input.copy(room, 0, at, Math.min(input.length, at + next()))
    at += count
    if (reader.took(count)) return reader.answer()
  }
  return reader.endsHere ? reader.answer() : undefined
}
const http: Target = {
  name: 'http',
  seeds: [
    'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 11\r\n\r\nhello world',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 Busy\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno',
    'HTTP/1.1 200 OK\r\n\r\nto the end',
  ].map((text) => Buffer.from(text)),
  take(input, chance) {
    refusing([OddHttp], () => {
      const whole = httpAnswerOf(input, () => input.length)
      assert((whole?.body.length ?? 0) <= HTTP_LIMITS.bytes, 'no body is longer than was asked for')
      // Refused or not is a matter of where it is cut only for what follows the answer.
      const inPieces = httpAnswerOf(input, () => 1 + chance.below(20))
      assert.deepEqual(inPieces && [inPieces.status, inPieces.body], whole && [whole.status, whole.body])
    })
  },
}

const file = join(tmpdir(), `ft-fuzz-${process.pid}.toml`)
process.on('exit', () => rmSync(file, { force: true }))

const config: Target = {
  name: 'config',
  seeds: [
    'network = "regtest"\naddress = "127.0.0.1:8080"\ntor = false\nconnections-max = 5\n',
    'rpc = "127.0.0.1:18443"\nauth = "a:b"\ntrackers = "a.example:8080,b.example:1"\nhttp = "off"\n',
    'webhook-url = "https://example.org/x"\nwebhook-secret = "long"\nhttp-hosts = "a,b"\nlog-level = "info"\n',
  ].map((text) => Buffer.from(text)),
  take(input) {
    writeFileSync(file, input)
    refusing([ConfigError], () => void readConfig({ flags: {}, env: {}, configFile: file }))
  },
}

export const CHAIN_TARGETS = [blocks, mempool, proofs, announcements, answers, listings, http, config]

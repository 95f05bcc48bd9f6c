/**
 * A regtest chain whose blocks have the size and shape of mainnet's, valid to the last byte: 2,500 transactions, 6,500
 * inputs, 1.3 MB. Made once and kept in the tools' folder (about 3 GB for 2,000 blocks, some minutes); what was interrupted
 * goes on where it was. Every output may be spent by whoever brings two pieces of data, of a signature's and a key's size.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { merkleRoot } from '../../src/chain/block-proof.ts'
import { hash256, hashesIn } from '../../src/chain/decode.ts'
import { Regtest } from '../../test/sandbox/regtest.ts'

const TRANSACTIONS = 2_500
/** Inputs and as many outputs of a transaction, in turn: 2.6 on average. */
const INPUTS = [1, 2, 3, 4, 3]
const AMOUNT_SATS = 700_000n
/** Until the first coinbase may be spent. */
const MATURITY = 101
const BLOCK_S = 60

/** OP_2DROP OP_TRUE, and the P2WSH output of it. */
const SCRIPT = Buffer.from('6d51', 'hex')
const SCRIPT_PUB_KEY = Buffer.concat([Buffer.of(0x00, 0x20), createHash('sha256').update(SCRIPT).digest()])
const WITNESS = Buffer.concat([
  Buffer.of(3, 72),
  Buffer.alloc(72, 0x30),
  Buffer.of(33),
  Buffer.alloc(33, 0x02),
  Buffer.of(SCRIPT.length),
  SCRIPT,
])

/** A node on that chain, `blocks` of them full. `note` is told of progress. */
export async function startRealChain(blocks: number, note: (text: string) => void): Promise<Regtest> {
  const tools = process.env.SANDBOX_TOOLS ?? new URL('../../.tools', import.meta.url).pathname
  const node = await Regtest.on(join(tools, `bench-node-${blocks}`), {
    zmq: false,
    // Whenever it was made, it is no initial download; nothing is checked again at the start.
    args: ['-maxtipage=1000000000', '-checklevel=0', '-checkblocks=1', '-persistmempool=0', '-dbcache=100'],
  })
  try {
    await fill(node, blocks, note)
    return node
  } catch (error) {
    await node[Symbol.asyncDispose]()
    throw error
  }
}

async function fill(node: Regtest, blocks: number, note: (text: string) => void): Promise<void> {
  const last = MATURITY + 1 + blocks
  let height = await node.height()
  if (height < MATURITY) {
    await node.rpc('setmocktime', Math.floor(Date.now() / 1000) - BLOCK_S * (last + 10))
    await node.rpc('generatetodescriptor', MATURITY - height, `raw(${SCRIPT_PUB_KEY.toString('hex')})`)
    await node.rpc('setmocktime', 0)
    height = MATURITY
  }
  let tip = await rawBlock(node, await node.tipHash())
  for (; height < last; height++) {
    const before = hashesIn(tip, 'txid')
    const transactions = height === MATURITY ? [await fanOut(node)] : spending(before, height === MATURITY + 1)
    tip = assemble(tip, height + 1, transactions)
    const refused = await node.rpc<string | null>('submitblock', tip.toString('hex'))
    if (refused !== null) throw new Error(`bitcoind refuses block ${height + 1}: ${refused}`)
    if ((height + 1) % 100 === 0) note(`${height + 1} of ${last} blocks made`)
  }
}

async function rawBlock(node: Regtest, hash: string): Promise<Buffer> {
  return Buffer.from(await node.rpc<string>('getblock', hash, 0), 'hex')
}

/** The first coinbase, in as many outputs as each block spends. */
async function fanOut(node: Regtest): Promise<Buffer> {
  const [coinbase] = [hashesIn(await rawBlock(node, await node.rpc('getblockhash', 1)), 'txid')]
  const outputs = Array.from({ length: TRANSACTIONS }, (_, i) => inputsOf(i)).reduce((sum, n) => sum + n)
  return transaction([[coinbase, 0]], outputs)
}

/** Each spends what the one at its place in the block before has made; the first ones what the fan-out has. */
function spending(before: Buffer, isFirst: boolean): Buffer[] {
  let vout = 0
  return Array.from({ length: TRANSACTIONS }, (_, i) => {
    const place = isFirst ? 1 : i + 1 // behind the coinbase
    const txid = before.subarray(32 * place, 32 * place + 32)
    const inputs = Array.from({ length: inputsOf(i) }, (_, n): [Buffer, number] => [txid, isFirst ? vout++ : n])
    return transaction(inputs, inputs.length)
  })
}

function inputsOf(i: number): number {
  return INPUTS[i % INPUTS.length]!
}

function transaction(inputs: readonly [txid: Buffer, vout: number][], outputs: number): Buffer {
  const output = Buffer.concat([u64(AMOUNT_SATS), Buffer.of(SCRIPT_PUB_KEY.length), SCRIPT_PUB_KEY])
  return Buffer.concat([
    Buffer.of(2, 0, 0, 0, 0, 1), // version, segwit marker and flag
    compact(inputs.length),
    ...inputs.flatMap(([txid, vout]) => [txid, u32(vout), Buffer.of(0, 0xfd, 0xff, 0xff, 0xff)]),
    compact(outputs),
    ...Array.from({ length: outputs }, () => output),
    ...inputs.map(() => WITNESS),
    u32(0),
  ])
}

/** A block on `parent`, with its work done. */
function assemble(parent: Buffer, height: number, transactions: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(80)
  header.writeUInt32LE(0x20000000, 0)
  hash256(parent.subarray(0, 80)).copy(header, 4)
  header.writeUInt32LE(parent.readUInt32LE(68) + BLOCK_S, 68)
  header.writeUInt32LE(0x207fffff, 72)
  const block = (commitment: Buffer) =>
    Buffer.concat([header, compact(transactions.length + 1), coinbase(height, commitment), ...transactions])
  const wtxids = hashesIn(block(Buffer.alloc(32)), 'wtxid').fill(0, 0, 32)
  const raw = block(hash256(Buffer.concat([merkleRoot(wtxids), Buffer.alloc(32)])))
  merkleRoot(hashesIn(raw, 'txid')).copy(raw, 36)
  for (let nonce = 0; hash256(raw.subarray(0, 80))[31]! > 0x7e; ) raw.writeUInt32LE(++nonce, 76)
  return raw
}

function coinbase(height: number, commitment: Buffer): Buffer {
  // BIP34: the height as a number of Script, whose highest bit is its sign; and one byte more.
  const number = height < 0x80 ? [height] : [height & 0xff, height >> 8]
  const pushed = Buffer.of(number.length, ...number, 0x51)
  return Buffer.concat([
    Buffer.of(2, 0, 0, 0, 0, 1, 1),
    Buffer.alloc(32),
    Buffer.of(0xff, 0xff, 0xff, 0xff, pushed.length),
    pushed,
    Buffer.of(0xff, 0xff, 0xff, 0xff, 2),
    Buffer.concat([u64(0n), Buffer.of(1, 0x51)]),
    Buffer.concat([u64(0n), Buffer.from('266a24aa21a9ed', 'hex'), commitment]),
    Buffer.of(1, 32),
    Buffer.alloc(32),
    u32(0),
  ])
}

function compact(n: number): Buffer {
  return n < 0xfd ? Buffer.of(n) : Buffer.of(0xfd, n & 0xff, n >> 8)
}

function u32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}

function u64(n: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(n)
  return bytes
}

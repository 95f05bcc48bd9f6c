/**
 * A real bitcoind on a regtest chain of its own, and the few things tests and the demo do with it: mine, announce bonds,
 * spend them, reorganise. It never outlives the process that started it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { payments, Transaction } from 'bitcoinjs-lib'
import { formatAnnouncement } from '../../src/bonds/announcement.ts'
import { buildRedeemScript, p2wshScriptPubKey } from '../../src/bonds/script.ts'
import type { Announcement } from '../../src/bonds/types.ts'
import { asTxid, type Outpoint, type Txid } from '../../src/chain/types.ts'
import { type BondKey, signDer } from './bond-key.ts'
import { freePorts } from './ports.ts'
import { waitUntil } from './wait.ts'

const BITCOIND =
  process.env.FIDELITY_BITCOIND ?? new URL('../../.tools/bitcoind/bin/bitcoind', import.meta.url).pathname

/** Locks of the sandbox's ordinary bonds; regtest accepts from 1 block on. */
export const LOCK_BLOCKS = 15_000

export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export interface RegtestOptions {
  /** Further arguments of bitcoind. */
  args?: string[]
  rest?: boolean
  zmq?: boolean
}

/** What to announce, and how the funding transaction differs from an ordinary one. */
export interface BondPlan {
  key: BondKey
  /** `host.onion:port`, or `127.0.0.1:port`. */
  address: string
  format: Announcement['format']
  /** Blocks from the confirmation (the next block) to the lock height. */
  lockBlocks?: number
  amountSats?: number
  /** Replaces the announcement's text. */
  text?: string
  /** Pays to an ordinary address in place of a P2WSH. */
  isPlain?: boolean
  /** Outputs to ourselves after the announcement, before the change. */
  extraOutputs?: number
  /** Broadcast (default), or only signed. */
  broadcast?: boolean
}

export interface FundedBond {
  txid: Txid
  outpoint: Outpoint
  hex: string
  address: string
  lockHeight: number
  key: BondKey
  amountSats: number
}

export class Regtest implements AsyncDisposable {
  readonly dataDir: string
  readonly rpcPort: number
  readonly #options: RegtestOptions
  readonly #zmqPorts: readonly [number, number]
  readonly #keepsData: boolean
  #process: ChildProcess | undefined

  private constructor(dataDir: string, ports: readonly number[], options: RegtestOptions, keepsData = false) {
    this.dataDir = dataDir
    this.#keepsData = keepsData
    this.rpcPort = ports[0]!
    this.#zmqPorts = [ports[1]!, ports[2]!]
    this.#options = options
  }

  /** Starts a node with a wallet, and coins to spend after `blocks`. */
  static async start(options: RegtestOptions & { blocks?: number } = {}): Promise<Regtest> {
    if (!existsSync(BITCOIND))
      throw new Error(`no bitcoind at ${BITCOIND}: run scripts/test.sh or scripts/demo.sh, which bring it`)
    const dataDir = mkdtempSync(join(tmpdir(), 'ft-regtest-'))
    const node = new Regtest(dataDir, await freePorts(3), options)
    await node.launch()
    await node.rpc('createwallet', 'sandbox', false, false, '', false, true, true)
    const blocks = options.blocks ?? 110
    if (blocks > 0) await node.mine(blocks)
    return node
  }

  /** A node without a wallet, on data that stays when it ends. */
  static async on(dataDir: string, options: RegtestOptions = {}): Promise<Regtest> {
    mkdirSync(dataDir, { recursive: true })
    const node = new Regtest(dataDir, await freePorts(3), options, true)
    await node.launch()
    return node
  }

  get pid(): number {
    return this.#process!.pid!
  }

  get cookieFile(): string {
    return join(this.dataDir, 'regtest', '.cookie')
  }

  /** Starts bitcoind again on the same data; waits until it answers. */
  async launch(args: string[] = this.#options.args ?? []): Promise<void> {
    const { rest = true, zmq = true } = this.#options
    const [blocks, sequence] = this.#zmqPorts
    const flags = [
      '-regtest',
      `-datadir=${this.dataDir}`,
      '-server',
      `-rest=${rest ? 1 : 0}`,
      '-listen=0',
      '-dnsseed=0',
      `-rpcport=${this.rpcPort}`,
      '-fallbackfee=0.0001',
      '-addresstype=bech32',
      '-changetype=bech32',
      '-rpcthreads=8',
      ...(zmq
        ? [
            `-zmqpubrawblock=tcp://127.0.0.1:${blocks}`,
            `-zmqpubsequence=tcp://127.0.0.1:${sequence}`,
            `-zmqpubrawtx=tcp://127.0.0.1:${sequence}`,
          ]
        : []),
      ...args,
    ]
    // The kernel ends it with us, however we end: no handler of ours runs when somebody kills us.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', BITCOIND, ...flags], { stdio: 'ignore' })
    this.#process = child
    await waitUntil('bitcoind answers', async () => {
      if (child.exitCode !== null)
        throw new Error(`bitcoind ended with ${child.exitCode}: see ${this.dataDir}/regtest/debug.log`)
      return (await this.rpc<number>('getblockcount').catch(() => undefined)) !== undefined
    })
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#keepsData) return this.stop()
    await this.kill()
    rmSync(this.dataDir, { recursive: true, force: true })
  }

  async rpc<T = unknown>(method: string, ...params: unknown[]): Promise<T> {
    const cookie = readFileSync(this.cookieFile, 'utf8').trim()
    const response = await fetch(`http://127.0.0.1:${this.rpcPort}/`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(cookie).toString('base64')}` },
      body: JSON.stringify({ id: 1, method, params }),
    })
    const body = (await response.json()) as { result: T; error: { code: number; message: string } | null }
    if (body.error) throw new RpcError(body.error.code, `${method}: ${body.error.message}`)
    return body.result
  }

  height(): Promise<number> {
    return this.rpc('getblockcount')
  }

  tipHash(): Promise<string> {
    return this.rpc('getbestblockhash')
  }

  /** Mines `count` blocks, with what is in the mempool; returns their hashes. */
  async mine(count: number): Promise<string[]> {
    return this.rpc('generatetoaddress', count, await this.newAddress())
  }

  newAddress(): Promise<string> {
    return this.rpc('getnewaddress')
  }

  /** Takes `drop` blocks back and mines `mine` others without the mempool; returns the new hashes. */
  async replaceTip({ drop, mine }: { drop: number; mine: number }): Promise<string[]> {
    const height = await this.height()
    await this.rpc('invalidateblock', await this.rpc('getblockhash', height - drop + 1))
    return this.mineEmpty(mine)
  }

  /** Blocks with nothing but their coinbase (to a new address: never the hash of another one). */
  async mineEmpty(count: number): Promise<string[]> {
    const hashes: string[] = []
    for (let i = 0; i < count; i++) {
      const block = await this.rpc<{ hash: string }>('generateblock', await this.newAddress(), [])
      hashes.push(block.hash)
    }
    return hashes
  }

  /** A block with exactly these transactions, also such as are not relayed. */
  async mineWith(hexes: readonly string[]): Promise<string> {
    const block = await this.rpc<{ hash: string }>('generateblock', await this.newAddress(), hexes)
    return block.hash
  }

  /**
   * The wallet pays `outputs`, in this order, change last. What the mempool refuses throws: the wallet's own sending
   * would keep it and say nothing.
   */
  async pay(
    outputs: readonly Record<string, string>[],
    { satsPerVbyte = 1, broadcast = true } = {},
  ): Promise<{ txid: Txid; hex: string }> {
    const { hex } = await this.rpc<{ hex: string }>('send', outputs, null, 'unset', satsPerVbyte, {
      // Left to the wallet it is random, and one in a thousand is 21, which Knots takes for a token and does not relay.
      locktime: await this.height(),
      change_position: outputs.length,
      replaceable: true,
      add_to_wallet: false,
    })
    if (broadcast) await this.rpc('sendrawtransaction', hex)
    return { txid: asTxid(Transaction.fromHex(hex).getId()), hex }
  }

  /** A real funding transaction: bond, announcement, extras, change, in this order. */
  async fundBond(plan: BondPlan): Promise<FundedBond> {
    const height = await this.height()
    const { key, format, address, amountSats = 50_000, lockBlocks = LOCK_BLOCKS, extraOutputs = 0 } = plan
    const lockHeight = height + 1 + lockBlocks
    const text = plan.text ?? formatAnnouncement({ format, address, lockHeight })
    const script = p2wshScriptPubKey(buildRedeemScript({ publicKey: key.publicKey, lockHeight }))
    const payee = plan.isPlain ? await this.newAddress() : regtestAddressOf(script)
    const outputs: Record<string, string>[] = [
      { [payee]: btc(amountSats) },
      { data: Buffer.from(text, 'latin1').toString('hex') },
    ]
    for (let i = 0; i < extraOutputs; i++) outputs.push({ [await this.newAddress()]: btc(20_000) })
    const { txid, hex } = await this.pay(outputs, { broadcast: plan.broadcast })
    return { txid, outpoint: { txid, vout: 0 }, hex, address, lockHeight, key, amountSats }
  }

  /** Spends a bond whose lock has passed back to the wallet; returns the txid. */
  async spendBond(bond: FundedBond, { feeSats = 1_000, broadcast = true } = {}): Promise<{ txid: Txid; hex: string }> {
    const redeemScript = buildRedeemScript({ publicKey: bond.key.publicKey, lockHeight: bond.lockHeight })
    const payee = await this.rpc<{ scriptPubKey: string }>('getaddressinfo', await this.newAddress())
    const tx = new Transaction()
    tx.version = 2
    tx.locktime = bond.lockHeight
    tx.addInput(Buffer.from(bond.txid, 'hex').reverse(), 0, 0xfffffffe)
    tx.addOutput(Buffer.from(payee.scriptPubKey, 'hex'), BigInt(bond.amountSats - feeSats))
    const hash = tx.hashForWitnessV0(0, redeemScript, BigInt(bond.amountSats), Transaction.SIGHASH_ALL)
    const signature = Buffer.concat([signDer(hash, bond.key), Buffer.of(Transaction.SIGHASH_ALL)])
    tx.setWitness(0, [signature, redeemScript])
    if (broadcast) await this.rpc('sendrawtransaction', tx.toHex())
    return { txid: asTxid(tx.getId()), hex: tx.toHex() }
  }
}

function btc(sats: number): string {
  return (sats / 1e8).toFixed(8)
}

function regtestAddressOf(scriptPubKey: Uint8Array): string {
  const network = {
    messagePrefix: '',
    bech32: 'bcrt',
    bip32: { public: 0, private: 0 },
    pubKeyHash: 0,
    scriptHash: 0,
    wif: 0,
  }
  return payments.p2wsh({ output: scriptPubKey, network }).address!
}

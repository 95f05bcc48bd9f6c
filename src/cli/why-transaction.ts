/**
 * `why <txid>`: what a transaction announces, or why it is no bond. The rows of this data directory know it, or bitcoind
 * is asked, which without txindex knows what is in its mempool or has an output that is unspent.
 */
import { Transaction } from 'bitcoinjs-lib'
import { findAnnouncement } from '../bonds/announcement.ts'
import { announcementFaults } from '../bonds/announcement-faults.ts'
import type { AnnouncedOutput } from '../bonds/types.ts'
import { openNode } from '../chain/node.ts'
import type { NodeApi } from '../chain/node-reader.ts'
import { formatOutpoint, type Height, type Txid } from '../chain/types.ts'
import { type Config, nodeOptions } from '../config.ts'
import { TransientError, UnreachableError } from '../errors.ts'
import { readBondOfTx, readPendingBondOfTx } from '../store/local/bonds.ts'
import { readFacts } from '../views/closed.ts'
import type { WhyRow } from '../views/schemas/why.ts'
import { why } from '../views/why.ts'
import { systemClock } from '../world.ts'

const LIMITS = {
  /** Outputs that are looked for in the UTXO set: bonds have three at the most, other announcements five. */
  outputs: 5,
}

/** What is known of a transaction; in JSON as it stands. */
export interface WhyTransaction {
  txid: Txid
  /** Whether our rows or bitcoind have it; else nothing can be said but why. */
  found: boolean
  /** Null: nothing that this tracker reads, or not known. */
  announces: {
    outpoint: string
    address: string
    format: string
    amount: number
    lock_height: Height | null
  } | null
  /** Of the block that has it; null: in the mempool, or not known. */
  height: Height | null
  /** Sentences without their end. */
  reasons: string[]
  /** Of the maker it announces. */
  maker: WhyRow | null
}

/** Throws ConfigError where there is no database, UnreachableError where bitcoind has to be asked and doesn't answer. */
export async function whyTransaction(config: Config, txid: Txid, signal: AbortSignal): Promise<WhyTransaction> {
  const indexed = readFacts(config, systemClock, (facts) => {
    const tip = facts.chain.tip()
    const bond = readBondOfTx(facts.db, txid) ?? readPendingBondOfTx(facts.db, txid)
    const read = { from: facts.chain.scannedFrom(), to: tip?.height, unseen: facts.unseen() }
    return { read, known: bond && { ...announced(txid, bond, heightOf(bond)), maker: why(facts, bond.address) } }
  })
  if (indexed.known) return indexed.known
  await using node = await openNode(nodeOptions(config))
  try {
    const api = node.with(signal)
    await api.connect()
    return await askNode(config, txid, api, indexed.read)
  } catch (error) {
    if (!(error instanceof TransientError)) throw error
    throw new UnreachableError(`it is no bond that this data directory knows, and of others ${error.message}`, {
      cause: error,
    })
  }
}

function heightOf(bond: AnnouncedOutput & { conf?: { height: Height } }): Height | null {
  return bond.conf?.height ?? null
}

function announced(txid: Txid, bond: AnnouncedOutput, height: Height | null): WhyTransaction {
  const { outpoint, address, format, amountSats, lockHeight } = bond
  const announces = {
    outpoint: formatOutpoint(outpoint),
    address,
    format,
    amount: amountSats,
    lock_height: lockHeight ?? null,
  }
  return { txid, found: true, announces, height, reasons: [], maker: null }
}

interface BlocksRead {
  from: Height | undefined
  to: Height | undefined
  unseen: { from: Height; to: Height } | undefined
}

async function askNode(config: Config, txid: Txid, api: NodeApi, read: BlocksRead): Promise<WhyTransaction> {
  const found = await findTransaction(txid, api)
  const { height } = found
  const nothing = { txid, announces: null, height, maker: null }
  if ('lacking' in found) return { ...nothing, found: false, reasons: [found.lacking] }
  const tx = Transaction.fromBuffer(found.raw)
  const bond = findAnnouncement(tx, config)
  if (!bond) return { ...nothing, found: true, reasons: announcementFaults(tx) }
  return { ...announced(txid, bond, height), reasons: [whyNotKnown(height, read)] }
}

/** Why a bond that bitcoind has isn't among our rows. */
function whyNotKnown(height: Height | null, { from, to, unseen }: BlocksRead): string {
  if (height === null)
    return 'it was not read from the mempool yet: see that the daemon runs, and ask again in a minute'
  if (to === undefined || height > to) {
    return `it is confirmed in block ${height}, and this data directory has read up to ${to ?? 'none'}: see that the daemon runs`
  }
  if (from === undefined || height < from || (unseen && height <= unseen.to && height >= unseen.from)) {
    return `it is confirmed in block ${height}, which this tracker has never read: it was below its window, or bitcoind did not have it`
  }
  return `it is confirmed in block ${height}, which was read, and is not among the bonds: stop the daemon, fidelity-tracker rescan --from ${height}, start it`
}

type Found = { raw: Buffer; height: Height | null } | { lacking: string; height: Height | null }

async function findTransaction(txid: Txid, api: NodeApi): Promise<Found> {
  const height = await confirmedAt(txid, api)
  // With txindex that is any transaction.
  const raw = await api.mempoolTransaction(txid)
  if (raw) return { raw, height }
  if (height === null) {
    const { indexes } = await api.inspect()
    const hasIndex = indexes && 'value' in indexes && indexes.value?.txindex !== undefined
    const lacking = hasIndex
      ? 'bitcoind knows no such transaction: see the network and every digit'
      : 'bitcoind has it neither in its mempool nor with an unspent output. Where it is confirmed and all spent, only a bitcoind with txindex=1 can look it up: else see the network and every digit'
    return { lacking, height }
  }
  const [block] = await api.hashesFrom(height, 1)
  const proof = block && (await api.txProof(txid, block))
  return proof
    ? { raw: Buffer.from(proof.tx), height }
    : {
        lacking: `it is confirmed in block ${height}, which bitcoind has pruned: its outputs can't be read any more`,
        height,
      }
}

async function confirmedAt(txid: Txid, api: NodeApi): Promise<Height | null> {
  for (let vout = 0; vout < LIMITS.outputs; vout++) {
    const { output } = await api.output({ txid, vout })
    if (output) return output.confHeight ?? null
  }
  return null
}

/** What a tracker has answered: as text for people, and as JSON. */
import type { SpvVerdict } from '../bonds/spv.ts'
import { formatOutpoint, NO_BLOCK } from '../chain/types.ts'
import { printable, utc } from '../format.ts'
import { spendRow } from '../views/spends.ts'
import type { Reply, ReplyOf } from '../wire/messages.ts'
import { bondRowOf, hex, statusRowOf, trackerRowOf, whyRowOf } from '../wire/rows.ts'
import { describeSpend, describeWhy } from './answer-text.ts'
import { describeBonds, describeUnseen, sortBonds } from './bond-text.ts'
import { bareName, OPENSWAP_NAMES } from './openswap-name.ts'
import { describeTrackers } from './peer-text.ts'
import { describeFields } from './status-text.ts'
import type { TableLook } from './table.ts'

/** What a tracker answered, as text for people. */
export function describeReply(reply: Reply, look: TableLook): string {
  switch (reply.type) {
    case 'Address':
      return describeAddresses(
        reply.addresses.map((address) => printable(address)),
        look,
      )
    case 'WatchResponse':
      if (reply.transactions.length === 0) return 'no spend known'
      return reply.transactions.map(({ txid, seenAtMs }) => `${txid}  first seen ${utc(seenAtMs)}`).join('\n')
    case 'Spends':
      return reply.spends.map((spend) => describeSpend(spendRow(spend))).join('\n')
    case 'Spend':
      return describeSpend(spendRow(reply))
    case 'Registered':
      return `${reply.count} registered until block ${reply.untilHeight}${describeUnfunded(reply)}`
    case 'Bonds': {
      return `${describeBonds(bondRowsOf(reply), look, reply.height)} (${reply.blockHash}), digest ${hex(reply.digest)}${describeUnseen(reply.unseen)}`
    }
    case 'BondProof':
      return [
        `height   ${reply.height}`,
        `header   ${hex(reply.header)}`,
        `merkle   ${hex(reply.merkle)}`,
        `tx       ${hex(reply.tx)}`,
      ].join('\n')
    case 'Trackers':
      if (reply.trackers.length === 0) return 'it knows no other tracker'
      return describeTrackers(reply.trackers.map(trackerRowOf), look)
    case 'Posted':
      return `${reply.address} is proven to own ${formatOutpoint(reply.outpoint)}`
    case 'Why':
      return describeWhy(whyRowOf(reply))
    case 'Error':
      return `the tracker answered ${printable(reply.code)}: ${printable(reply.message)}`
    case 'Pong':
    case 'Status': {
      const { type: _, ...fields } = jsonOf(reply)
      return describeFields(fields)
    }
  }
}

/** A line each, as programs read it; somebody at a terminal is told what OpenSwap takes of it. */
function describeAddresses(addresses: readonly string[], { width }: TableLook): string {
  if (addresses.length === 0) return 'no makers'
  const isForOpenSwap = width !== undefined && addresses.some((address) => bareName(address))
  return [...addresses, ...(isForOpenSwap ? [OPENSWAP_NAMES] : [])].join('\n')
}

/** In the order of the verb `bonds`. */
function bondRowsOf({ bonds, height }: ReplyOf<'Bonds'>) {
  return sortBonds(bonds.map((bond) => bondRowOf(bond, height)))
}

function describeUnfunded({ unfunded = 0, unfundedUntil }: ReplyOf<'Registered'>): string {
  if (unfunded === 0) return ''
  return `; ${unfunded} of them no transaction has made yet: kept until block ${unfundedUntil} unless one does`
}

/** The same as JSON: `type` names the reply, and what it holds are the rows that HTTP and the other verbs show. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const { type } = reply
  switch (reply.type) {
    case 'Address':
      return { type, addresses: reply.addresses }
    case 'WatchResponse': {
      const seconds = (ms: number) => (Number.isNaN(ms) ? null : Math.floor(ms / 1000))
      const transactions = reply.transactions.map(({ txid, seenAtMs, rawTx }) => ({
        txid,
        tx: hex(rawTx),
        first_seen: seconds(seenAtMs),
      }))
      return { type, transactions }
    }
    case 'Spends':
      return {
        type,
        height: reply.height,
        block_hash: reply.blockHash,
        indexed_from: reply.indexedFrom,
        spends: reply.spends.map(spendRow),
      }
    case 'Spend':
      return { type, ...spendRow(reply) }
    case 'Registered':
      return {
        type,
        count: reply.count,
        until_height: reply.untilHeight,
        unfunded: reply.unfunded ?? 0,
        unfunded_until: reply.unfundedUntil ?? null,
      }
    case 'Bonds':
      return {
        type,
        height: reply.height,
        block_hash: reply.blockHash,
        digest: hex(reply.digest),
        total: reply.total,
        unseen: reply.unseen ?? null,
        bonds: bondRowsOf(reply),
      }
    case 'BondProof':
      return { type, height: reply.height, header: hex(reply.header), merkle: hex(reply.merkle), tx: hex(reply.tx) }
    case 'Trackers':
      return { type, trackers: reply.trackers.map(trackerRowOf) }
    case 'Posted':
      return { type, outpoint: formatOutpoint(reply.outpoint), address: reply.address }
    case 'Why':
      return { type, ...whyRowOf(reply) }
    case 'Error':
      return { type, code: reply.code, message: reply.message }
    case 'Pong': {
      const { height, blockHash, digest } = reply.blockHash === NO_BLOCK ? {} : reply
      return {
        type,
        address: printable(reply.address),
        version: reply.version === undefined ? null : printable(reply.version),
        network: reply.network === undefined ? null : printable(reply.network),
        height: height ?? null,
        block_hash: blockHash ?? null,
        digest: digest ? hex(digest) : null,
      }
    }
    case 'Status':
      return { type, ...statusRowOf(reply) }
  }
}

export function describeProofVerdict(verdict: SpvVerdict, height: number): string {
  if (!verdict.ok) return `DOES NOT HOLD (${verdict.fault}): ${verdict.detail}`
  const { blockHash, bond } = verdict
  return `holds: ${bond.address} announced ${bond.amountSats} sats in block ${blockHash}, at height ${height} as the tracker says: look the hash up in your own headers`
}

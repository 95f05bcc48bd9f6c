/**
 * Why a maker is listed, or is not: everything that speaks against it or soon will, each with what to do. Source:
 * docs/makers.md, "Reasons".
 */
import { ANNOUNCEMENT_WANTED, DEFAULT_MAKER_PORT } from '../bonds/announcement.ts'
import { compareOutpoints } from '../bonds/digest.ts'
import { isTakersCheck } from '../bonds/proof.ts'
import { isTakenToday } from '../bonds/today.ts'
import type { AnnouncedOutput, ConfirmedBond, Refusal, Tip } from '../bonds/types.ts'
import { bondValue } from '../bonds/value.ts'
import { AMOUNT_SATS_MIN, blocksLeft, endHeight, LOCK_BLOCKS_MAX, lockBlocksOf, stateOf } from '../bonds/verify.ts'
import {
  formatOutpoint,
  type Height,
  type HeightRange,
  type Network,
  type Outpoint,
  type Txid,
} from '../chain/types.ts'
import { printable, utc } from '../format.ts'
import type { Liveness } from '../peers/liveness.ts'
import { readBondsOf, readPendingBondsOf } from '../store/local/bonds.ts'
import type { Db } from '../store/open.ts'
import { isOnionHost, type MakerName, parseHostPort, parseMakerName } from '../tor/address.ts'
import { onionAddressFault, tidyAddress } from '../tor/pasted-address.ts'
import type { Facts } from './facts.ts'
import type { ReasonRow, WhyRow } from './schemas/why.ts'
import { skippedPendingText, skippedText } from './today-advice.ts'

const LIMITS = {
  /** About a week: time to make the next bond before the old one ends. */
  expiringBlocks: 1_008,
  /** A maker may have announced without end; what is alive and what is youngest comes first. */
  reasonsMax: 30,
  /** What was asked is repeated in the answer up to this length: no address is longer. */
  addressMax: 80,
}

export interface WhyFacts {
  /** As it was asked. */
  asked: string
  name: MakerName | undefined
  network: Network
  tip: Tip | undefined
  /** Why no list is given at all just now. */
  notSynced: string | undefined
  bonds: readonly ConfirmedBond[]
  pending: readonly AnnouncedOutput[]
  /** Other addresses of its host that were announced; asked for only where its own was not. */
  otherPorts: readonly string[]
  /** Heights that were gone before they could be scanned. */
  unseen: HeightRange | undefined
  /** What probes say. */
  life: Pick<Liveness, 'record' | 'reachOf' | 'isProven'>
  nowMs: number
  /** Watched relays that don't announce the bond. */
  relaysWithout: (txid: Txid) => readonly string[]
}

/** `asked`: as the maker announces it; its host alone stands for all its ports. */
export function why(facts: Facts, asked: string): WhyRow {
  const { config, chain, db, liveness, clock, notSynced, unseen, relays } = facts
  const tip = chain.tip()
  const name = parseMakerName(asked, config)
  const bonds = name ? readBondsOf(db, name) : []
  const pending = name ? readPendingBondsOf(db, name) : []
  return explain({
    asked,
    name,
    network: config.network,
    tip,
    notSynced: notSynced(),
    bonds,
    pending,
    otherPorts: bonds.length + pending.length === 0 ? otherPortsOf(db, name) : [],
    unseen: unseen(),
    life: liveness,
    nowMs: clock.nowMs(),
    relaysWithout: (txid) => relays.without(txid),
  })
}

/** What its host has announced with other ports than the one that was asked about; on a test host each port is somebody else. */
function otherPortsOf(db: Db, name: MakerName | undefined): string[] {
  const asked = name && 'address' in name ? parseHostPort(name.address) : undefined
  if (!asked || !isOnionHost(asked.host)) return []
  const host = { host: asked.host }
  return [...new Set([...readBondsOf(db, host), ...readPendingBondsOf(db, host)].map(({ address }) => address))]
}

type Reason = Pick<ReasonRow, 'code' | 'text'> & { outpoint?: Outpoint; height?: Height }

function reasonRow({ code, text, outpoint, height }: Reason): ReasonRow {
  return { code, text, outpoint: outpoint ? formatOutpoint(outpoint) : null, height: height ?? null }
}

/** Pure. */
export function explain(facts: WhyFacts): WhyRow {
  const { asked, name, tip, notSynced, bonds, pending } = facts
  const address = printable(asked, LIMITS.addressMax)
  const reasons: Reason[] = []
  const done = (listed: boolean): WhyRow => ({
    address,
    listed,
    reasons: reasons.slice(0, LIMITS.reasonsMax).map(reasonRow),
  })
  if (!name) {
    const text = `${onionAddressFault(tidyAddress(asked))}. Expected <56 characters>.onion:<port>, or <56 characters>.onion for all its ports: copy it as the maker prints it`
    reasons.push({ code: 'malformed-address', text })
    return done(false)
  }
  if (notSynced !== undefined || !tip) {
    const text = `this tracker gives no list just now (${notSynced ?? 'nothing scanned yet'}); what follows is what it knows so far. Ask again later`
    reasons.push({ code: 'not-synced', text, ...(tip && { height: tip.height }) })
  }
  if (!tip) return done(false)
  const live = bonds
    .filter((bond) => stateOf(bond, tip) === 'live')
    .map((bond) => ({ bond, value: bondValue(bond, tip) }))
    .sort((a, b) => b.value - a.value || compareOutpoints(a.bond.outpoint, b.bond.outpoint)) // as in the list
  const addresses = [...new Set(live.map(({ bond }) => bond.address))]
  for (const own of addresses) reasons.push(...lifeOf(own, live, facts))
  for (const own of addresses) reasons.push(...absenceOf(own, live, facts))
  for (const { bond } of live) reasons.push(...standingOf(bond, live, tip), ...skipped(bond, facts.network))
  for (const bond of pending) {
    const text = `the bond ${formatOutpoint(bond.outpoint)} is in the mempool: it counts from the block that confirms it. Wait, or raise its fee`
    reasons.push({ code: 'pending', text, outpoint: bond.outpoint }, ...skipped(bond, facts.network))
  }
  const dead = bonds.filter((bond) => stateOf(bond, tip) !== 'live').sort((a, b) => b.conf.height - a.conf.height)
  for (const bond of dead) reasons.push(endOf(bond, facts.network))
  if (bonds.length === 0 && pending.length === 0) reasons.push(noBond(facts, tip))
  return done(notSynced === undefined && addresses.some((own) => facts.life.reachOf(own) !== 'down'))
}

/** What probes say of the maker. */
function lifeOf(address: string, live: readonly { bond: ConfirmedBond }[], { life, nowMs }: WhyFacts): Reason[] {
  const record = life.record(address)
  if (!record) {
    const text = `${address} was not probed yet: it is listed as unknown. The first probe comes within minutes of the confirmation, if this tracker has Tor`
    return [{ code: 'never-probed', text }]
  }
  const reasons: Reason[] = []
  const { failures, firstFailureMs = nowMs, failureText = '', failure } = record
  if (failures > 0) {
    const lastUp = record.lastUpMs === undefined ? 'it never answered' : `it last answered at ${utc(record.lastUpMs)}`
    const met = `${failures} probes in a row failed since ${utc(firstFailureMs)} (${lastUp}); the last: ${failure}, ${failureText}`
    reasons.push(
      life.reachOf(address) === 'down'
        ? {
            code: 'down',
            text: `${address} is down: ${met}. See that the maker and its Tor run and that the announced port is the onion service's; it is listed again with its first answer, which is asked for at least every 4 hours`,
          }
        : { code: 'failing', text: `${met}. After three failures over half an hour it counts as down` },
    )
  }
  if (failures === 0 && failure === 'closed' && record.lastFailureMs === record.lastProbeMs) {
    const lastUp = record.lastUpMs === undefined ? 'it never answered' : `it last answered at ${utc(record.lastUpMs)}`
    const text = `its last probe (${utc(record.lastProbeMs)}) was closed without an answer (${lastUp}), as a maker does that has reached its limit of connections. That never counts as down; it is asked again within minutes. If it goes on, see that the port is the maker's and that nobody floods it`
    reasons.push({ code: 'failing', text })
  }
  if (record.offerFault !== undefined) {
    const when = record.offerAskedMs === undefined ? '' : ` (${utc(record.offerAskedMs)})`
    const text = `its last offer${when} can't be used, and no earlier one is shown instead: ${record.offerFault}. Correct the setting that it comes from; it is asked for again within a day`
    reasons.push({ code: 'offer-refused', text })
  }
  const listedBy = live.find(({ bond }) => bond.address === address)!.bond
  const { verdict } = record
  if (verdict?.failed !== undefined) {
    const text = `the proof in its last offer (${utc(verdict.atMs)}) failed the check ${verdict.failed}: ${verdict.text}. ${isTakersCheck(verdict.failed) ? 'Takers refuse the maker for this' : 'Takers do not make this check'}; docs/makers.md explains it`
    reasons.push({ code: 'proof-failed', text, outpoint: verdict.outpoint })
  } else if (!life.isProven(listedBy)) {
    const text = `no proof for ${formatOutpoint(listedBy.outpoint)} was seen yet: the maker has not answered a request for its offer since the bond confirmed`
    reasons.push({ code: 'not-proven', text, outpoint: listedBy.outpoint })
  }
  if (verdict && verdict.failed === undefined && verdict.text !== undefined) {
    const text = `the proof in its last offer (${utc(verdict.atMs)}) holds, but its bond is ${verdict.text}, as after a reorg. Takers since September 2026 do not read that; older ones refuse the maker until its next bond`
    reasons.push({ code: 'conf-height', text, outpoint: verdict.outpoint })
  }
  return reasons
}

/** Relays where takers that know no tracker do not find the maker. */
function absenceOf(address: string, live: readonly { bond: ConfirmedBond }[], facts: WhyFacts): Reason[] {
  const { bond } = live.find((one) => one.bond.address === address)!
  const { outpoint } = bond
  const shouldBeThere = isTakenToday(bond, facts.network) && facts.life.reachOf(address) !== 'down'
  const urls = shouldBeThere ? facts.relaysWithout(outpoint.txid) : []
  if (urls.length === 0) return []
  const text = `no valid event at ${urls.join(', ')} announces the bond ${formatOutpoint(outpoint)}: takers that know only ${urls.length === 1 ? 'that relay' : 'those relays'} do not find the maker. A maker announces its bond every half hour: see in its log whether the relay takes its events, and that it reaches it through Tor`
  return [{ code: 'not-on-relay', text, outpoint }]
}

/** What is to be said of a live bond. */
function standingOf(bond: ConfirmedBond, live: readonly { bond: ConfirmedBond; value: number }[], tip: Tip): Reason[] {
  const { outpoint } = bond
  const own = live.filter((other) => other.bond.address === bond.address)
  const best = own[0]!
  if (best.bond !== bond) {
    const value = own.find((other) => other.bond === bond)!.value
    const text = `the bond ${formatOutpoint(outpoint)} (value ${value}) is live, but the maker is listed once, by ${formatOutpoint(best.bond.outpoint)} (value ${best.value}). Nothing to do`
    return [{ code: 'shadowed', text, outpoint }]
  }
  if (blocksLeft(bond, tip) >= LIMITS.expiringBlocks) return []
  const end = endHeight(bond)
  const away = end - tip.height
  const text = `the bond ${formatOutpoint(outpoint)} ends at block ${end}, ${away} ${away === 1 ? 'block' : 'blocks'} after this one; from then on the maker is not listed by it. Makers renew only once it has ended: expect a gap until the next bond confirms`
  return [{ code: 'expiring', text, outpoint, height: end }]
}

/** Why takers of today don't accept a bond that counts, or will; of test addresses none of them wants to know. */
function skipped(bond: AnnouncedOutput | ConfirmedBond, network: Network): Reason[] {
  if (!isOnionHost(bond.address.slice(0, bond.address.lastIndexOf(':')))) return []
  const text = 'conf' in bond ? skippedText(bond, network) : skippedPendingText(bond, network)
  if (text === undefined) return []
  return [{ code: 'not-today', text, outpoint: bond.outpoint, ...('conf' in bond && { height: bond.conf.height }) }]
}

/** Why a bond does not count. */
function endOf(bond: ConfirmedBond, network: Network): Reason {
  const { outpoint, refusal, spentBy, conf, lockHeight } = bond
  const name = formatOutpoint(outpoint)
  if (refusal) {
    const text = `the bond ${name}, confirmed at block ${conf.height}, never qualified: ${refusalText(bond, refusal, network)}`
    return { code: `refused-${refusal}`, text, outpoint, height: conf.height }
  }
  if (spentBy) {
    const text = `the bond ${name} was spent at block ${spentBy.height} by input ${spentBy.vin} of ${spentBy.txid}. A new bond is needed`
    return { code: 'spent', text, outpoint, height: spentBy.height }
  }
  const end = endHeight(bond)
  const why =
    lockHeight === undefined
      ? `announced without a lock height, it counts until it is ${LOCK_BLOCKS_MAX} blocks old`
      : 'its lock has passed'
  const text = `the bond ${name} expired at block ${end}: ${why}. Redeem it and make a new one`
  return { code: 'expired', text, outpoint, height: end }
}

function refusalText(bond: ConfirmedBond, refusal: Refusal, network: Network): string {
  const { min, max } = lockBlocksOf(network)
  const lock = `locked until ${bond.lockHeight}, ${(bond.lockHeight ?? 0) - bond.conf.height} blocks after its confirmation; ${min} to ${max} are accepted. Make a new bond with another lock`
  switch (refusal) {
    case 'not-p2wsh':
      return 'output 0 is no P2WSH output. The bond has to be the first output of the transaction that announces it'
    case 'too-small':
      return `it has ${bond.amountSats} sats, at least ${AMOUNT_SATS_MIN} are needed. Make a larger bond`
    case 'lock-passed':
      return `it was locked until ${bond.lockHeight}, which had passed when it confirmed. Make a new bond`
    case 'lock-too-short':
      return `${lock}; a setting at the very minimum is one block short when it confirms`
    case 'lock-too-long':
      return lock
  }
}

function noBond({ name, unseen, otherPorts, network }: WhyFacts, tip: Tip): Reason {
  const who = 'host' in name! ? name.host : name!.address
  if (otherPorts.length > 0) {
    const ports = (addresses: readonly string[]) =>
      addresses.map((address) => address.slice(address.lastIndexOf(':'))).join(', ')
    const text = `its host was announced with ${ports(otherPorts)}, not with ${ports([who])}: ask about ${otherPorts[0]}. A maker is found at the port that its bond announces, and one that names none means :${DEFAULT_MAKER_PORT}`
    return { code: 'no-bond', text, height: tip.height }
  }
  const gap = unseen
    ? ` Blocks ${unseen.from} to ${unseen.to} were never read, as bitcoind did not have them: a bond there is not known.`
    : ''
  const text = `up to block ${tip.height} of ${network} no transaction announced ${who}.${gap} ${ANNOUNCEMENT_WANTED}. See that the bond's transaction is confirmed on this network; with its txid, fidelity-tracker why <txid> on the tracker's machine says what it lacks`
  return { code: 'no-bond', text, height: tip.height }
}

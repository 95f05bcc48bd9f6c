/**
 * Funding transactions that differ from what today's makers build, one thing each: valid in a block, whether or not a node
 * would relay them.
 */
import { payments, Transaction } from 'bitcoinjs-lib'
import { announcementScript } from '../../src/bonds/announcement.ts'
import { asTxid, type Txid } from '../../src/chain/types.ts'
import type { Regtest } from '../sandbox/regtest.ts'
import { type Coin, makeCoins } from './coins.ts'
import { onionHost } from './onions.ts'

/** What the block that is to confirm it is known to be. */
interface Place {
  /** 56 characters. */
  label: string
  confHeight: number
}

interface Output {
  script: Buffer
  sats: bigint
}

interface Plan {
  outputs: Output[]
  lockTime: number
  sequence: number
}

export interface Deviation {
  /** What takers of today hold against it, all of it. */
  refusals: string[]
  /** Live by our own rules. */
  isLive: boolean
  plan: Plan
}

const P2WSH = payments.p2wsh({ hash: Buffer.alloc(32, 7) }).output!
const P2WPKH = payments.p2wpkh({ hash: Buffer.alloc(20, 9) }).output!
const CHANGE: Output = { script: Buffer.from(P2WPKH), sats: 20_000n }
const BOND: Output = { script: Buffer.from(P2WSH), sats: 50_000n }

/** All, by name. `labelOf`: the 56 characters of a maker by that name. */
export function deviations(confHeight: number): Record<string, Deviation> {
  const place = (name: string): Place => ({ label: labelOf(name), confHeight })
  const made: Record<string, Deviation> = {}
  const add = (name: string, refusals: string[], change: (place: Place) => Partial<Plan>, isLive = true) => {
    const at = place(name)
    const ordinary: Plan = { outputs: [BOND, announcing(at), CHANGE], lockTime: confHeight - 1, sequence: 0 }
    made[name] = { refusals, isLive, plan: { ...ordinary, ...change(at) } }
  }
  const second = (refusals: string[], output: (place: Place) => Output) =>
    [refusals, (at: Place) => ({ outputs: [BOND, output(at), CHANGE] })] as const
  const bond = (change: Partial<Output>) => (at: Place) => ({
    outputs: [{ ...BOND, ...change }, announcing(at), CHANGE],
  })
  add('ordinary', [], () => ({}))
  add('without change', [], (at) => ({ outputs: [BOND, announcing(at)] }))
  add('four outputs', ['outputs'], (at) => ({ outputs: [BOND, announcing(at), CHANGE, CHANGE] }))
  add('output 2', ['announcement-place'], (at) => ({ outputs: [BOND, CHANGE, announcing(at)] }))
  add('value', ...second(['announcement-value'], (at) => ({ ...announcing(at), sats: 1n })))
  add('PUSHDATA1', ...second(['push'], (at) => ({ script: pushed(0x4c, textOf(at)), sats: 0n })))
  add('format A', ...second(['text-format'], ({ label }) => said(`${label}.onion:6102`)))
  add('format B', ...second(['push', 'text-format'], (at) => said(textOf(at).replace('#', '.onion:6102#'))))
  add('format C', ...second(['push', 'text-format'], (at) => said(textOf(at).replace('#', '.onion#'))))
  add('leading zero', ...second(['leading-zero'], (at) => said(textOf(at).replace('#', '#0'))))
  add('time', ['locktime-kind'], () => ({ lockTime: 1_000_000_000 }))
  add('final', ['sequences'], () => ({ sequence: 0xffffffff }))
  add('not P2WSH', ['not-p2wsh'], bond({ script: CHANGE.script }), false)
  add('too small', ['too-small'], bond({ sats: 9_999n }), false)
  add('too long', ...second(['lock-range'], (at) => announcing(at, 25_921)), false)
  add(
    'everything',
    ['outputs', 'announcement-place', 'locktime-kind', 'sequences', 'too-small'],
    (at) => ({
      outputs: [{ ...BOND, sats: 9_000n }, CHANGE, CHANGE, announcing(at)],
      lockTime: 1_000_000_000,
      sequence: 0xffffffff,
    }),
    false,
  )
  return made
}

export function labelOf(name: string): string {
  return onionHost(name).replace('.onion', '')
}

function textOf({ label, confHeight }: Place, lockBlocks = 15_000): string {
  return `${label}#${confHeight + lockBlocks}`
}

function announcing(place: Place, lockBlocks?: number): Output {
  return said(textOf(place, lockBlocks))
}

function said(text: string): Output {
  return { script: announcementScript(text), sats: 0n }
}

function pushed(opcode: number, text: string): Buffer {
  return Buffer.concat([Buffer.of(0x6a, opcode, text.length), Buffer.from(text)])
}

/** Signed by the node's wallet, not sent. Mines a block for the coins they spend. */
export async function signPlans(node: Regtest, plans: readonly Plan[]): Promise<{ txid: Txid; hex: string }[]> {
  const coins = await makeCoins(node, plans.length, 150_000)
  return Promise.all(plans.map((plan, i) => signPlan(node, plan, coins[i]!)))
}

async function signPlan(node: Regtest, { outputs, lockTime, sequence }: Plan, coin: Coin) {
  const tx = new Transaction()
  tx.version = 2
  tx.locktime = lockTime
  tx.addInput(Buffer.from(coin.txid, 'hex').reverse(), coin.vout, sequence)
  for (const { script, sats } of outputs) tx.addOutput(script, sats)
  const { hex, complete } = await node.rpc<{ hex: string; complete: boolean }>(
    'signrawtransactionwithwallet',
    tx.toHex(),
  )
  if (!complete) throw new Error('the wallet can not sign')
  return { txid: asTxid(Transaction.fromHex(hex).getId()), hex }
}

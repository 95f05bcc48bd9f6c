/**
 * attack [NUMBER...] [--seconds N]: what an honest client gets while strangers do their worst. Each attack against a
 * daemon of its own and a real bitcoind: first the honest client alone, then the same beside the attack, whose part runs
 * in a process of its own. Exit code 1 when an attack costs the honest client more than it may.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { formatHostPort } from '../../../src/tor/address.ts'
import { Regtest } from '../../../test/sandbox/regtest.ts'
import { type TorClient, TorNetwork } from '../../../test/sandbox/tor-network.ts'
import { Tracker } from '../../../test/sandbox/tracker.ts'
import { fill, unreachable } from '../get.ts'
import { report } from '../report.ts'
import type { Attack, Stage } from './attack.ts'
import { Attackers } from './attackers.ts'
import { costing } from './cost.ts'
import { fillWallet, HonestClient } from './honest.ts'
import { ATTACKS } from './list.ts'
import { lossesOf, type Outcome, row, TITLES, told, verdictOf } from './outcome.ts'

const MAKERS = 200
const SECONDS = 10
/** The attack goes on this long before anything is measured: it is about what lasts. */
const WARM_MS = 2_000

export async function benchAttack(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { seconds: { type: 'string', default: String(SECONDS) } },
  })
  const seconds = Number(values.seconds)
  const numbers = positionals.map(Number)
  const unknown = positionals.filter((_, i) => !ATTACKS.some((attack) => attack.number === numbers[i]))
  if (unknown.length > 0 || !(seconds > 0)) {
    throw new Error(
      `usage: attack [NUMBER...] [--seconds N]; there are ${ATTACKS.map(({ number }) => number).join(' ')}`,
    )
  }
  const outcomes: Outcome[] = []
  for (const attack of ATTACKS.filter(({ number }) => numbers.length === 0 || numbers.includes(number))) {
    process.stdout.write(`${attack.number}. ${attack.what}\n`)
    const outcome = await undergo(attack, seconds)
    outcomes.push(outcome)
    for (const line of told(outcome)) process.stdout.write(`   ${line}\n`)
  }
  report(`attack: an honest client beside each, ${seconds} s`, [TITLES, ...outcomes.map(row)])
  if (outcomes.some((outcome) => verdictOf(outcome) === 'fails')) process.exitCode = 1
}

async function undergo(attack: Attack, seconds: number): Promise<Outcome> {
  const forMs = 1_000 * seconds
  await using node = await Regtest.start()
  await using tor = attack.needsTor ? await TorNetwork.start({ clients: 3 }) : undefined
  const dataDir = mkdtempSync(join(tmpdir(), 'ft-attack-'))
  using _dataDir = { [Symbol.dispose]: () => rmSync(dataDir, { recursive: true, force: true }) }
  await fill(node, dataDir, unreachable(MAKERS))
  const data = await attack.prepare?.(node)
  const wallet = await fillWallet(node, 2 * seconds + 5)
  const args = ['--allow-test-addresses', ...torFlags(tor?.clients[0]), ...(attack.flags ?? [])]
  await using tracker = await Tracker.start(node, { dataDir, http: true, nostr: true, args })
  await tracker.caughtUp(node)
  const stage: Stage = { node, tracker, tor: tor?.clients ?? [], data }

  using honest = await HonestClient.open(stage, wallet, { comesAgain: attack.isReorg === true })
  using beside = await attack.beside?.(stage)
  await honest.measure(1_000) // what the first request of each kind costs is no matter here
  const alone = await costing(tracker, () => honest.measure(forMs))
  const target = {
    port: tracker.port,
    httpPort: tracker.httpPort!,
    nostrPort: tracker.nostrPort!,
    data: beside?.data ?? data,
  }
  await using attackers = await Attackers.launch(attack, target)
  await pause(WARM_MS)
  const further: string[] = []
  const together = await costing(tracker, async () => {
    const [figures, lost = []] = await Promise.all([honest.measure(forMs), attack.meanwhile?.(stage, forMs)])
    further.push(...lost)
    return figures
  })
  const tally = await attackers.stop()
  further.push(...(beside?.losses() ?? []), ...(attack.faults?.(tally) ?? []))
  if (!tracker.isRunning) further.push(`the daemon has ended: ${tracker.stderr.slice(-200)}`)
  return { attack, alone, beside: together, tally, faults: [...lossesOf(together.value), ...further] }
}

function torFlags(client: TorClient | undefined): string[] {
  if (!client) return ['--no-tor']
  return ['--control-port', formatHostPort(client.control), '--socks-port', formatHostPort(client.socks)]
}

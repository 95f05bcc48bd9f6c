/**
 * npm run bench -- WHAT [ARGUMENT...]: speed of the built program, as ratios to a baseline measured in the same run.
 * Absolute times depend on the machine; compare ratios.
 */
import { existsSync, readFileSync } from 'node:fs'
import { benchAll } from './all.ts'
import { benchAttack } from './attack/bench.ts'
import { benchBlock } from './block.ts'
import { benchGet } from './get.ts'
import { benchGrowth } from './growth.ts'
import { benchLookUp } from './look-up.ts'
import { benchMempool } from './mempool.ts'
import { benchNode } from './node.ts'
import { benchNostr } from './nostr.ts'
import { benchProbes } from './probes.ts'
import { benchRegistrations } from './registrations.ts'
import { benchScale } from './scale.ts'
import { benchScan, benchStall } from './scan.ts'
import { benchIdle, benchStart } from './start.ts'
import { syntheticBlock } from './synthetic-block.ts'
import { benchTor } from './tor.ts'
import { benchWatch } from './watch.ts'

const BENCHES: Record<string, { takes?: string; run: (args: string[]) => Promise<unknown> }> = {
  all: { takes: '[BLOCK FILE...]', run: (files) => benchAll(blocksOf(files)) },
  node: { run: () => benchNode() },
  'look-up': { takes: '[BLOCK FILE...]', run: (files) => benchLookUp(blocksOf(files)) },
  scan: { takes: '[BLOCK FILE...]', run: (files) => benchScan(blocksOf(files)) },
  stall: { takes: '[BLOCK FILE...]', run: (files) => benchStall(blocksOf(files)) },
  mempool: { takes: '[BLOCK FILE...]', run: (files) => benchMempool(blocksOf(files)) },
  get: { run: () => benchGet() },
  start: { run: () => benchStart() },
  idle: { run: () => benchIdle() },
  block: { run: () => benchBlock() },
  growth: { run: () => benchGrowth() },
  watch: { run: () => benchWatch() },
  registrations: { takes: '[COUNT...]', run: benchRegistrations },
  probes: { run: () => benchProbes() },
  scale: { takes: '[--ten-million] [register|spends|get|failover|learning|load]', run: benchScale },
  tor: { run: () => benchTor() },
  nostr: { takes: '[--tor]', run: benchNostr },
  attack: { takes: '[NUMBER...] [--seconds N]', run: benchAttack },
}

/** Raw mainnet blocks when given; else made ones of the same shape. */
function blocksOf(files: readonly string[]): Buffer[] {
  const missing = files.filter((file) => !existsSync(file))
  if (missing.length > 0) throw new Error(`no such block file: ${missing.join(', ')}`)
  return files.length > 0 ? files.map((file) => readFileSync(file)) : [syntheticBlock(1), syntheticBlock(2)]
}

const [what = '', ...args] = process.argv.slice(2)
const bench = BENCHES[what]
if (bench) await bench.run(args)
else {
  const usages = Object.entries(BENCHES).map(([name, { takes = '' }]) =>
    `  npm run bench -- ${name} ${takes}`.trimEnd(),
  )
  process.stderr.write(`usage:\n${usages.join('\n')}\n`)
  process.exitCode = 2
}

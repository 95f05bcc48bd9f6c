/**
 * npm run bench -- scan | get | stall | start | mempool | watch | probes [BLOCK FILE...] | nostr [--tor] | tor | attack [NUMBER...] [--seconds N]: speed of the built program, as ratios
 * to a baseline measured in the same run. Absolute times depend on the machine; compare ratios.
 */
import { existsSync, readFileSync } from 'node:fs'
import { benchAttack } from './attack/bench.ts'
import { benchGet } from './get.ts'
import { benchMempool } from './mempool.ts'
import { benchNostr } from './nostr.ts'
import { benchProbes } from './probes.ts'
import { benchScan, benchStall } from './scan.ts'
import { benchStart } from './start.ts'
import { syntheticBlock } from './synthetic-block.ts'
import { benchTor } from './tor.ts'
import { benchWatch } from './watch.ts'

const [which, ...files] = process.argv.slice(2)
const missing = which === 'attack' || which === 'nostr' ? [] : files.filter((file) => !existsSync(file))
if (missing.length > 0) throw new Error(`no such block file: ${missing.join(', ')}`)
/** Raw mainnet blocks when given; else made ones of the same shape. */
const blocks = () =>
  files.length > 0 ? files.map((file) => readFileSync(file)) : [syntheticBlock(1), syntheticBlock(2)]

switch (which) {
  case 'scan':
    await benchScan(blocks())
    break
  case 'get':
    await benchGet()
    break
  case 'stall':
    await benchStall(blocks())
    break
  case 'start':
    await benchStart()
    break
  case 'mempool':
    await benchMempool(blocks())
    break
  case 'watch':
    await benchWatch()
    break
  case 'probes':
    await benchProbes()
    break
  case 'nostr':
    await benchNostr(files)
    break
  case 'tor':
    await benchTor()
    break
  case 'attack':
    await benchAttack(files)
    break
  default:
    process.stderr.write(
      'usage: npm run bench -- scan | get | stall | start | mempool | watch | probes [BLOCK FILE...] | nostr [--tor] | tor | attack [NUMBER...] [--seconds N]\n',
    )
    process.exitCode = 2
}

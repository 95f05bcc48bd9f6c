/**
 * The attackers' process. Its first line of input says whom to attack, and how; it answers with a line when all are in
 * place, goes on until its input ends, and says last what it has counted.
 */
import { createInterface } from 'node:readline'
import type { Target } from './attack.ts'
import { ATTACKS } from './list.ts'
import { tally } from './load.ts'

const input = createInterface({ input: process.stdin })
input.once('line', async (line) => {
  const { number, target } = JSON.parse(line) as { number: number; target: Target }
  await ATTACKS.find((attack) => attack.number === number)!.launch(target)
  process.stdout.write('{"isReady":true}\n')
})
input.on('close', () => {
  process.stdout.write(`${JSON.stringify({ tally })}\n`, () => process.exit())
})

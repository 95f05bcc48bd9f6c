/**
 * A short form of `npm run fuzz`: some thousand hostile inputs for each of its targets, always the same ones, and every
 * input that once broke something. And that the fuzzer would see it.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { Chance } from '../fuzz/chance.ts'
import { type Find, inputOf, type Target, tryInput } from '../fuzz/fuzz.ts'
import { TARGETS, targetOf } from '../fuzz/targets.ts'

const SEED = 20_261_126
const INPUTS = 3_000
/** Of targets that need a file or a socket for each. */
const SLOW = new Map([
  ['config', 300],
  ['control', 300],
  ['zmq', 100],
])

const KEPT: { target: string; what: string; input: string }[] = JSON.parse(
  readFileSync(new URL('../vectors/fuzz.json', import.meta.url), 'utf8'),
)

after(async () => {
  for (const target of TARGETS) await target.close?.()
})

for (const target of TARGETS) {
  test(`${target.name}: hostile inputs are taken, or refused as they should be`, async () => {
    const inputs = SLOW.get(target.name) ?? INPUTS
    for (let i = 0; i < inputs; i++) {
      const find = await tryInput(target, SEED + i)
      assert(!find, `npm run fuzz -- --seed ${find?.seed} --inputs 1 ${target.name}\n${find?.what}`)
    }
  })
}

for (const { target, what, input } of KEPT) {
  test(`${target}: ${what}`, () => targetOf(target).take(Buffer.from(input, 'hex'), new Chance(1)))
}

test('a fault is found, made again by its seed alone, and told by the shortest input', async () => {
  const planted: Target = {
    name: 'planted',
    seeds: [Buffer.from('a long text in which nothing is wrong')],
    take(input) {
      if (input.includes('ng') && input.length !== this.seeds[0]!.length) throw new RangeError('planted')
    },
  }
  const finds: Find[] = []
  for (let seed = 1; finds.length < 3; seed++) {
    assert(seed < 1_000, 'it is found')
    const find = await tryInput(planted, seed)
    if (find) finds.push(find)
  }
  for (const { seed, input, what } of finds) {
    assert.deepEqual(inputOf(planted, seed).input, inputOf(planted, seed).input)
    assert.deepEqual((await tryInput(planted, seed))?.input, input)
    assert.equal(input.toString(), 'ng')
    assert.match(what, /^RangeError: planted/)
  }
})

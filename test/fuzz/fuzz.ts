/**
 * Hostile inputs, one by one: each follows from a target and a number alone, so that whatever one of them breaks can be
 * broken again. What a parser may answer is its typed refusal; anything else that it throws is a find.
 */
import { Chance } from './chance.ts'
import { mutate, mutateCbor } from './mutate.ts'

export interface Target {
  name: string
  /** What it is to take, before it is changed. */
  seeds: readonly Buffer[]
  /** The seeds are CBOR items: half of the inputs are well-formed, too. */
  isCbor?: true
  /** As the program takes it. Resolves when it was taken, or refused as it should be. */
  take(input: Buffer, chance: Chance): void | Promise<void>
  /** Ends what `take` has opened. */
  close?(): Promise<void>
}

export interface Find {
  target: string
  /** The number that makes it again. */
  seed: number
  /** The shortest input found with the same effect. */
  input: Buffer
  what: string
}

/** How often an input is shortened before it is told. */
const SHORTER_TRIES = 2_000

export function inputOf(target: Target, seed: number): { input: Buffer; chance: Chance } {
  const chance = new Chance(seed)
  const asCbor = target.isCbor && chance.oneIn(2) ? mutateCbor(chance.pick(target.seeds), chance) : undefined
  return { input: asCbor ?? mutate(target.seeds, chance), chance }
}

/** The input that `seed` makes; a find when it is not taken as it should be. */
export async function tryInput(target: Target, seed: number): Promise<Find | undefined> {
  const { input, chance } = inputOf(target, seed)
  const error = await thrownBy(target, input, chance)
  if (!error) return undefined
  const shortest = await shorten(target, input, seed, signatureOf(error))
  return { target: target.name, seed, input: shortest, what: error.stack ?? String(error) }
}

async function thrownBy(target: Target, input: Buffer, chance: Chance): Promise<Error | undefined> {
  try {
    await target.take(input, chance)
    return undefined
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** What makes two errors the same: their kind, and the line that threw. */
function signatureOf({ name, stack = '' }: Error): string {
  return `${name} ${/^\s+at .*$/m.exec(stack)?.[0] ?? ''}`
}

/** Without what it breaks just as well without. */
async function shorten(target: Target, input: Buffer, seed: number, signature: string): Promise<Buffer> {
  let shortest = input
  let tries = 0
  for (let size = Math.ceil(input.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length; ) {
      if (tries++ > SHORTER_TRIES) return shortest
      const without = Buffer.concat([shortest.subarray(0, at), shortest.subarray(at + size)])
      const error = await thrownBy(target, without, inputOf(target, seed).chance)
      if (error && signatureOf(error) === signature) shortest = without
      else at += size
    }
  }
  return shortest
}

/** What somebody may have meant by a word that isn't known. Pure. */

/** Letters that differ, at the most: one in three of what is the word's own, and no more than these. */
const SLIPS_MAX = 3

/** The nearest of `known`; undefined when none is near. A hyphen and an underscore are one. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll('_', '-')
  const sought = plain(word)
  const ranked = known
    .map((name) => ({ name, slips: slipsBetween(sought, plain(name)) }))
    .sort((a, b) => a.slips - b.slips)
  const [best] = ranked
  const shared = sharedStart(known.map(plain))
  const own = sought.startsWith(shared) ? sought.length - shared.length : sought.length
  return best && best.slips <= Math.min(SLIPS_MAX, Math.ceil(own / 3)) ? best.name : undefined
}

/** With what all of them begin. */
function sharedStart(words: readonly string[]): string {
  const [first = '', ...others] = words
  let length = first.length
  for (const word of others) while (!word.startsWith(first.slice(0, length))) length--
  return first.slice(0, length)
}

/** Letters to add, leave out, change, or swap with the next (optimal string alignment). */
export function slipsBetween(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let slips = Math.min(row[j - 1]! + 1, last[j]! + 1, change)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (isSwap) slips = Math.min(slips, before[j - 2]! + 1)
      row.push(slips)
    }
    before = last
    last = row
  }
  return last[b.length]!
}

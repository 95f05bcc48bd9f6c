/**
 * Who keeps a place when more come than there are places. All strangers look alike behind Tor, so nobody loses a place for
 * being quiet: that is what a wallet is. Half of all places belong to those who have been subscribed longest, and are never
 * given away. For the rest a newcomer takes the place of a random one of the largest group: of those who have said nothing,
 * those who have asked something, or those who are subscribed. Ten thousand that only connect push out one another, and a
 * thousand that subscribe at once push out one another, but not the wallet that was there before.
 *
 * Pure but for chance.
 */

export const SLOT_GROUPS = ['silent', 'asked', 'subscribed'] as const
export type SlotGroup = (typeof SLOT_GROUPS)[number]

export class Slots<T extends object> {
  readonly #max: number
  readonly #random: () => number
  readonly #groupOf = new Map<T, SlotGroup>()
  /** Subscribed longest, the longest first: their places are theirs. */
  readonly #kept = new Set<T>()
  /** Those who may have to go. */
  readonly #open: Record<SlotGroup, RandomSet<T>> = {
    silent: new RandomSet(),
    asked: new RandomSet(),
    subscribed: new RandomSet(),
  }

  /** `random`: uniform in [0, 1). */
  constructor(max: number, random: () => number) {
    this.#max = max
    this.#random = random
  }

  get size(): number {
    return this.#groupOf.size
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#groupOf.keys()
  }

  groupOf(one: T): SlotGroup | undefined {
    return this.#groupOf.get(one)
  }

  /** A newcomer, silent as yet. Returns who has to go for it, already without a place. */
  add(one: T): { victim: T; group: SlotGroup } | undefined {
    const evicted = this.size >= this.#max ? this.#evict() : undefined
    this.#groupOf.set(one, 'silent')
    this.#open.silent.add(one)
    return evicted
  }

  #evict(): { victim: T; group: SlotGroup } {
    const group = SLOT_GROUPS.reduce((a, b) => (this.#open[b].size > this.#open[a].size ? b : a))
    const victim = this.#open[group].pick(this.#random())
    this.remove(victim)
    return { victim, group }
  }

  /** `one` has asked something, has subscribed, or is subscribed to nothing any more. Nothing happens to who has no place. */
  move(one: T, group: SlotGroup): void {
    const before = this.#groupOf.get(one)
    if (before === undefined || before === group) return
    this.#takeOut(one, before)
    this.#groupOf.set(one, group)
    this.#open[group].add(one)
    this.#fill()
  }

  remove(one: T): void {
    const group = this.#groupOf.get(one)
    if (group === undefined) return
    this.#groupOf.delete(one)
    this.#takeOut(one, group)
    this.#fill()
  }

  #takeOut(one: T, group: SlotGroup): void {
    if (!this.#kept.delete(one)) this.#open[group].delete(one)
  }

  /** Gives the kept places that are free to those who have been subscribed longest. */
  #fill(): void {
    while (this.#kept.size < Math.floor(this.#max / 2)) {
      const longest = this.#open.subscribed.first()
      if (!longest) return
      this.#open.subscribed.delete(longest)
      this.#kept.add(longest)
    }
  }
}

/** A set in the order of arrival, of which a random member can be had at once. */
class RandomSet<T> {
  readonly #inOrder = new Set<T>()
  readonly #list: T[] = []
  readonly #at = new Map<T, number>()

  get size(): number {
    return this.#list.length
  }

  add(one: T): void {
    this.#inOrder.add(one)
    this.#at.set(one, this.#list.length)
    this.#list.push(one)
  }

  delete(one: T): void {
    const at = this.#at.get(one)
    if (at === undefined) return
    const last = this.#list.pop()!
    if (last !== one) {
      this.#list[at] = last
      this.#at.set(last, at)
    }
    this.#at.delete(one)
    this.#inOrder.delete(one)
  }

  /** Who came first. */
  first(): T | undefined {
    return this.#inOrder.values().next().value
  }

  /** `chance`: in [0, 1). The set must not be empty. */
  pick(chance: number): T {
    return this.#list[Math.floor(chance * this.#list.length)]!
  }
}

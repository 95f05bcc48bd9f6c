/** Who keeps a place when more come than there are. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SLOT_GROUPS, type SlotGroup, Slots } from '../../../src/wire/slots.ts'

class One {
  readonly name: number
  constructor(name: number) {
    this.name = name
  }
}

/** Always the first of the list. */
const first = () => 0

test('the place is taken from the largest group', () => {
  const slots = new Slots<One>(6, first)
  const all = Array.from({ length: 6 }, (_, i) => new One(i))
  for (const one of all) slots.add(one)
  slots.move(all[0]!, 'asked')
  slots.move(all[1]!, 'asked')
  assert.equal(slots.add(new One(6))?.group, 'silent') // four silent, two asked
  for (const one of all.slice(2)) slots.move(one, 'asked')
  assert.equal(slots.add(new One(7))?.group, 'asked')
  assert.equal(slots.size, 6)
})

test('half of the places belong to those who have been subscribed longest, in that order', () => {
  const slots = new Slots<One>(4, first)
  const [a, b, c, d] = Array.from({ length: 4 }, (_, i) => new One(i)) as [One, One, One, One]
  for (const one of [a, b, c, d]) slots.add(one)
  for (const one of [c, a, d, b]) slots.move(one, 'subscribed')
  // c and a keep their places; of d and b the first goes
  assert.equal(slots.add(new One(4))?.victim, d)
  assert.deepEqual(
    [a, b, c, d].map((one) => slots.groupOf(one)),
    ['subscribed', 'subscribed', 'subscribed', undefined],
  )
})

test('a kept place that becomes free goes to who has been subscribed longest of the others', () => {
  const slots = new Slots<One>(4, first)
  const [a, b, c, d] = Array.from({ length: 4 }, (_, i) => new One(i)) as [One, One, One, One]
  for (const one of [a, b, c, d]) {
    slots.add(one)
    slots.move(one, 'subscribed')
  }
  slots.remove(a) // c moves up
  slots.add(new One(4))
  assert.equal(slots.add(new One(5))?.group, 'silent')
  slots.move(b, 'asked') // d moves up
  const rest = [...slots].filter((one) => slots.groupOf(one) === 'subscribed')
  assert.deepEqual(rest, [c, d])
})

test('whatever happens: never more than there are places, everybody in one group, the kept ones stay', () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant('add' as const) }),
    fc.record({ kind: fc.constant('move' as const), at: fc.nat(50), group: fc.constantFrom(...SLOT_GROUPS) }),
    fc.record({ kind: fc.constant('remove' as const), at: fc.nat(50) }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(command, { maxLength: 200 }), (max, commands) => {
      let chance = 0.37
      const slots = new Slots<One>(max, () => {
        chance = (chance * 7.31) % 1
        return chance
      })
      /** In the order in which they subscribed. */
      let subscribed: One[] = []
      let made = 0
      for (const command of commands) {
        const present = [...slots]
        const one = 'at' in command ? present[command.at % Math.max(1, present.length)] : undefined
        if (command.kind === 'add') {
          const kept = subscribed.slice(0, Math.floor(max / 2))
          const isFull = slots.size === max
          const evicted = slots.add(new One(made++))
          assert.equal(evicted !== undefined, isFull)
          assert(!evicted || !kept.includes(evicted.victim), 'a kept place was given away')
          subscribed = subscribed.filter((other) => other !== evicted?.victim)
        } else if (one && command.kind === 'move') {
          if (command.group !== 'subscribed') subscribed = subscribed.filter((other) => other !== one)
          else if (!subscribed.includes(one)) subscribed.push(one)
          slots.move(one, command.group)
        } else if (one) {
          subscribed = subscribed.filter((other) => other !== one)
          slots.remove(one)
        }
        assert(slots.size <= max)
        const groups = [...slots].map((other) => slots.groupOf(other) as SlotGroup)
        assert(groups.every((group) => SLOT_GROUPS.includes(group)))
        assert.equal(groups.filter((group) => group === 'subscribed').length, subscribed.length)
      }
    }),
  )
})

/**
 * One onion address that three trackers share, with all that is real: daemons, a Tor each, PostgreSQL, bitcoind. Whatever
 * befalls the holder, another has the address soon, and never two at once; what was registered there is told there.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Coin, makeCoins } from '../support/coins.ts'
import { SharedAddress, TROUBLES } from '../support/shared-address.ts'

let shared: SharedAddress
let coins: Coin[]
before(async () => {
  shared = await SharedAddress.start()
  coins = await makeCoins(shared.node, TROUBLES.length)
})
after(async () => await shared?.[Symbol.asyncDispose]())

for (const trouble of TROUBLES) {
  test(`the holder is ${trouble.what}: another publishes and serves, and tells of what was registered before`, async (t) => {
    const { publications } = shared
    const looks = publications.looks
    const { holder, ...took } = await shared.takeOver(trouble, coins.pop()!)
    t.diagnostic(JSON.stringify(Object.entries(took).map(([what, ms]) => `${what} ${Math.round(ms)}`)))
    const next = publications.listed[0]
    const now = await shared.recover(trouble, holder)
    assert.equal(now.index, next, 'whom it befell does not take the address back')
    assert.deepEqual(publications.doubles, [])
    assert.ok(publications.looks - looks > 50)
  })
}

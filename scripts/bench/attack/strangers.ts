/** Attacks by what others say of themselves: Pings with other people's addresses, proofs that do not hold. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { DIALECT } from '../../../src/peers/dialects.ts'
import { encode } from '../../../src/wire/cbor.ts'
import { bondKey } from '../../../test/sandbox/bond-key.ts'
import type { LieName } from '../../../test/sandbox/lies.ts'
import { LIES } from '../../../test/sandbox/lies.ts'
import { offerMessage } from '../../../test/sandbox/offer.ts'
import { freePorts } from '../../../test/sandbox/ports.ts'
import { onionHost } from '../../../test/support/onions.ts'
import type { Attack } from './attack.ts'
import { count, framed, lanes, times } from './load.ts'

const VICTIMS = 20
/** All hosts together, in an hour. */
const DIALS_MAX = 120

const pings: Attack = {
  number: 9,
  what: "16 connections, Pings with 1,000 other people's addresses",
  prepare: () => freePorts(VICTIMS),
  async launch({ port, data }) {
    for (const victim of data as number[]) {
      const server = createServer((socket) => {
        count('dials')
        socket.on('error', () => {}).destroy()
      })
      await once(server.listen(victim, '127.0.0.1'), 'listening')
    }
    const frames = times(1_000, (i) => {
      const victim = (data as number[])[i % VICTIMS]!
      return i % 2 === 0
        ? framed({ type: 'Ping', address: `127.0.0.1:${victim}`, port: victim })
        : framed({ type: 'Ping', address: onionHost(`victim ${i}`), port: 8080 })
    })
    let n = 0
    await lanes(16, port, () => frames[n++ % frames.length]!)
  },
  faults: ({ dials = 0 }) => (dials > DIALS_MAX ? [`strangers made us dial ${dials} times`] : []),
}

const brokenProofs: Attack = {
  number: 10,
  what: '16 connections, Post with broken proofs of a real bond',
  async prepare(node) {
    const address = '127.0.0.1:1'
    const bond = await node.fundBond({ key: bondKey('posted'), format: 'B', address })
    await node.mine(1)
    const offered = { ...bond, confHeight: await node.height(), certAddress: address }
    return (Object.keys(LIES) as LieName[]).map((name) => {
      const offer = encode(offerMessage(offered, { lie: { name, otherKey: bondKey('posted', 1) } }))
      const read = DIALECT.unified.asks.at(-1)!.read(offer)
      if (!read.ok || read.reply.type !== 'offer') throw new Error(`no offer: ${name}`)
      const { proof, tweakablePoint, tweakChainCode } = read.reply.offer
      const metadata = { url: address, proof, tweakablePoint, ...(tweakChainCode && { tweakChainCode }) }
      return framed({ type: 'Post', metadata }).toString('base64')
    })
  },
  launch({ port, data }) {
    const frames = (data as string[]).map((text) => Buffer.from(text, 'base64'))
    let n = 0
    return lanes(16, port, () => frames[n++ % frames.length]!)
  },
}

export const STRANGER_ATTACKS = [pings, brokenProofs]

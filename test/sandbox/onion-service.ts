/** An onion service of the private Tor network for something on 127.0.0.1. */
import { createHash } from 'node:crypto'
import { type HostPort, onionHostOf } from '../../src/tor/address.ts'
import { TorControl } from '../../src/tor/control.ts'
import { expandSeed } from '../../src/tor/key.ts'

export interface OnionPlan {
  /** Its host name is made of it: the same at every start. */
  name: string
  virtualPort: number
  /** Where it leads, on 127.0.0.1. */
  port: number
}

/** Lasts until it is disposed of, or this process ends. Resolves once its descriptor is uploaded. */
export async function publishOnion(
  control: HostPort,
  { name, virtualPort, port }: OnionPlan,
): Promise<{ onionHost: string } & Disposable> {
  const { expanded, publicKey } = expandSeed(createHash('sha256').update(name).digest())
  const onionHost = onionHostOf(publicKey)
  const line = new TorControl({ control, password: undefined })
  await line.connect()
  const uploaded = Promise.withResolvers<void>()
  await line.subscribe(['HS_DESC'], (event) => {
    if (event.startsWith(`HS_DESC UPLOADED ${onionHost.replace('.onion', '')} `)) uploaded.resolve()
  })
  await line.must(`ADD_ONION ED25519-V3:${expanded.toString('base64')} Port=${virtualPort},127.0.0.1:${port}`)
  await uploaded.promise
  return { onionHost, [Symbol.dispose]: () => line[Symbol.dispose]() }
}

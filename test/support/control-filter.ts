/** A filter before a real control port, as onion-grater is one: what it lets through goes on as it is, the rest gets an answer. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { HostPort } from '../../src/tor/address.ts'

export interface ControlFilter extends AsyncDisposable {
  control: HostPort
  /** Undefined lets the command through. May be changed while it runs. */
  answer: (command: string) => string | undefined
}

export async function startControlFilter(tor: HostPort, answer: ControlFilter['answer']): Promise<ControlFilter> {
  const open = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(tor)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
    }
    far.on('data', (chunk) => near.write(chunk))
    let text = ''
    near.on('data', (chunk) => {
      const lines = (text + chunk).split('\r\n')
      text = lines.pop()!
      for (const line of lines) {
        const refusal = filter.answer(line)
        if (refusal === undefined) far.write(`${line}\r\n`)
        else near.write(`${refusal}\r\n`)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const filter: ControlFilter = {
    control: { host: '127.0.0.1', port: (server.address() as { port: number }).port },
    answer,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await once(server.close(), 'close')
    },
  }
  return filter
}

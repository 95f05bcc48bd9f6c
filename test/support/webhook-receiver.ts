/** Somebody who is told: an HTTP server that checks signatures, and answers as the test wishes. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export const SECRET = 'a secret of the test'

export interface Told {
  id: string
  at: number
  tracker: string
  event: string
  data: Record<string, unknown>
}

export class Receiver implements AsyncDisposable {
  /** Those that were accepted, in order. */
  readonly told: Told[] = []
  /** Statuses for the next requests; after them 204. */
  answers: (number | 'hang up')[] = []
  requests = 0
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** `pem`: a certificate and its key, for HTTPS. */
  static async start(port = 0, pem?: Buffer): Promise<Receiver> {
    const server = pem === undefined ? createServer() : createTlsServer({ cert: pem, key: pem })
    const receiver = new Receiver(server)
    server.on('request', async (request: IncomingMessage, response: ServerResponse) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const body = Buffer.concat(chunks).toString()
      receiver.requests++
      const answer = receiver.answers.shift() ?? 204
      if (answer === 'hang up') return request.socket.destroy()
      const told = JSON.parse(body) as Told
      const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request.headers['fidelity-tracker-signature']))!
      assert.equal(v1, createHmac('sha256', SECRET).update(`${t}.${body}`).digest('hex'))
      assert.ok(Math.abs(Number(t) - Date.now() / 1000) < 60)
      assert.equal(request.headers['fidelity-tracker-event'], told.event)
      if (answer >= 200 && answer < 300) receiver.told.push(told)
      response.writeHead(answer).end('thank you')
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return receiver
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook?key=1`
  }

  events(): string[] {
    return this.told.map(({ event }) => event)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await once(this.#server.close(), 'close')
  }
}

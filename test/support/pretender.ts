/** A server that calls itself a tracker at its own port, and says what it is told to say. */
import type { Request } from '../../src/wire/messages.ts'
import { encodeReply, type Reply } from '../../src/wire/messages.ts'
import type { Outcome } from '../../src/wire/server.ts'
import { startServer, type TestServer } from './wire.ts'

export interface Pretender extends TestServer {
  /** `127.0.0.1:port`. */
  readonly address: string
  /** What it was asked, in its order. */
  readonly heard: readonly Request['type'][]
}

/** `self`: its address. */
export async function startPretender(
  answer: (request: Request, self: string) => Promise<Reply | 'close'> | Reply | 'close',
): Promise<Pretender> {
  let self = ''
  const heard: Request['type'][] = []
  const server = await startServer(async (request): Promise<Outcome> => {
    heard.push(request.type)
    const reply = await answer(request, self)
    return reply === 'close' ? 'close' : { send: encodeReply(reply) }
  })
  self = `127.0.0.1:${server.port}`
  return Object.assign(server, { address: self, heard })
}

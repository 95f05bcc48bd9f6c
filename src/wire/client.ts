/** The asking side: one request, one reply, on a socket somebody else has dialled. */
import type { Socket } from 'node:net'
import { TransientError } from '../errors.ts'
import { after } from '../world.ts'
import { encodeFrame, FrameReader, FrameTooLarge } from './frame.ts'
import { encodeRequest, NotAReply, parseReply, type Reply, type Request } from './messages.ts'

export const LIMITS = {
  /** A list of 200,000 makers. What is longer is not meant for us. */
  replyBytesMax: 16_777_216,
}

/** Sends one payload and reads one. Rejects with TransientError (closed, too long, no answer in time). */
export function exchange(
  socket: Socket,
  payload: Uint8Array,
  options: { timeoutMs: number; prefix?: number },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const reader = new FrameReader(LIMITS.replyBytesMax)
    const settle = (outcome: () => void) => {
      cancel()
      socket.off('data', onData).off('error', onError).off('close', onClose)
      outcome()
    }
    const fail = (message: string, cause?: unknown) =>
      settle(() => reject(new TransientError(message, cause === undefined ? undefined : { cause })))
    const onData = (chunk: Buffer) => {
      try {
        reader.push(chunk)
        const reply = reader.next()
        if (reply) settle(() => resolve(reply))
      } catch (error) {
        if (!(error instanceof FrameTooLarge)) throw error
        fail(`the reply is too long: ${error.message}`)
      }
    }
    const onError = (error: Error) => fail('the connection broke', error)
    const onClose = () => fail('the connection was closed without a reply')
    const cancel = after(options.timeoutMs, () => fail(`no reply within ${options.timeoutMs / 1000} s`))
    // Before anything is sent: bytes that a proxy held back are emitted once, to whoever listens then.
    socket.on('data', onData).on('error', onError).on('close', onClose)
    socket.write(encodeFrame(payload, options.prefix))
  })
}

/** Asks a tracker. Rejects with TransientError, also when what comes back is no tracker's reply. */
export async function ask(socket: Socket, request: Request, options: { timeoutMs: number }): Promise<Reply> {
  const payload = await exchange(socket, encodeRequest(request), options)
  try {
    return parseReply(payload)
  } catch (error) {
    if (error instanceof NotAReply) throw new TransientError(error.message, { cause: error })
    throw error
  }
}

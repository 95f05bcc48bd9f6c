/** The asking side: one request, one reply, on a socket somebody else has dialled and will destroy. */
import type { Socket } from 'node:net'
import { TransientError } from '../errors.ts'
import { after } from '../world.ts'
import { encodeFrame, FrameReader, FrameTooLarge } from './frame.ts'
import { encodeRequest, NotAReply, parseReply, type Reply, type Request } from './messages.ts'

const LIMITS = {
  /** A list of 200,000 makers. What is longer is not meant for us. */
  replyBytesMax: 16_777_216,
}

export interface ExchangeOptions {
  /** From the request's first byte to the reply's last. */
  timeoutMs: number
  signal?: AbortSignal
  /** The byte that makers of 0.1.x expect before the CBOR item: 0x01 from a taker, 0x02 from a tracker. */
  prefix?: 0x01 | 0x02
  replyBytesMax?: number
}

/**
 * No (whole) reply came. `closed` before its first byte: the other side doesn't answer such a request, or the circuit to
 * it was lost, which looks the same; `broken` in its middle; `silent`: not in time.
 */
export class NoReply extends TransientError {
  readonly how: 'closed' | 'broken' | 'silent'
  constructor(how: NoReply['how'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.how = how
  }
}

/**
 * Sends one payload and reads one; may be called again once it has resolved. Rejects with NoReply, TransientError (the
 * reply is too long) or the signal's reason, and then the socket is of no more use.
 */
export function exchange(socket: Socket, payload: Uint8Array, options: ExchangeOptions): Promise<Buffer> {
  const { timeoutMs, signal, prefix, replyBytesMax = LIMITS.replyBytesMax } = options
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    if (socket.destroyed || socket.readableEnded) return reject(new NoReply('closed', 'the connection is closed'))
    const reader = new FrameReader(replyBytesMax)
    const settle = (outcome: () => void) => {
      cancel()
      signal?.removeEventListener('abort', onAbort)
      socket.off('data', onData).off('error', onError).off('close', onClose).off('end', onClose).pause()
      outcome()
    }
    const fail = (error: TransientError) => settle(() => reject(error))
    const onData = (chunk: Buffer) => {
      try {
        reader.push(chunk)
        const reply = reader.next()
        if (reply) settle(() => resolve(reply))
      } catch (error) {
        if (!(error instanceof FrameTooLarge)) throw error
        fail(new TransientError(`the reply is too long: ${error.message}`))
      }
    }
    const onError = (cause: Error) => fail(new NoReply('broken', 'the connection broke', { cause }))
    const onClose = () =>
      fail(
        reader.isMidFrame
          ? new NoReply('broken', 'the connection was closed in mid-reply')
          : new NoReply('closed', 'the connection was closed without a reply'),
      )
    const onAbort = () => settle(() => reject(signal?.reason))
    const cancel = after(timeoutMs, () => fail(new NoReply('silent', `no reply within ${timeoutMs / 1000} s`)))
    signal?.addEventListener('abort', onAbort, { once: true })
    // Before anything is sent: bytes that a proxy held back are emitted once, to whoever listens then.
    socket.on('data', onData).on('error', onError).on('close', onClose).on('end', onClose)
    if (!socket.listeners('error').includes(ignore)) socket.on('error', ignore)
    socket.resume().write(encodeFrame(payload, prefix))
  })
}

/** An error after the last exchange concerns nobody; without a listener it would end the process. */
function ignore(): void {}

/** Asks a tracker or pings a maker. Rejects as `exchange` does; TransientError also when what comes is no reply. */
export async function ask(socket: Socket, request: Request, options: ExchangeOptions): Promise<Reply> {
  const payload = await exchange(socket, encodeRequest(request), options)
  try {
    return parseReply(payload)
  } catch (error) {
    if (error instanceof NotAReply) throw new TransientError(error.message, { cause: error })
    throw error
  }
}

/** A connection on which more than one thing is said: requests go out, replies and pushes are taken one by one. */
export interface Conversation extends Disposable {
  send(request: Request): void
  /** The next message. Rejects with TransientError (closed, broken, no reply, none in time) or the signal's reason. */
  next(timeoutMs?: number): Promise<Reply>
}

/** Disposing destroys the socket. The socket flows only while somebody waits for a message. */
export function conversation(socket: Socket, signal: AbortSignal): Conversation {
  const reader = new FrameReader(LIMITS.replyBytesMax)
  let end: unknown
  let wake = () => {}
  const finish = (reason: unknown) => {
    end ??= reason
    wake()
  }
  const onAbort = () => finish(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  socket.on('data', (chunk) => {
    socket.pause()
    reader.push(chunk)
    wake()
  })
  socket.on('error', (error) => finish(new TransientError('the connection broke', { cause: error })))
  const onClose = () => finish(new TransientError('the connection was closed'))
  socket.on('end', onClose).on('close', onClose)
  return {
    send: (request) => void socket.write(encodeFrame(encodeRequest(request))),
    async next(timeoutMs) {
      const cancel =
        timeoutMs === undefined
          ? () => {}
          : after(timeoutMs, () => finish(new TransientError(`no message within ${timeoutMs / 1000} s`)))
      try {
        for (;;) {
          const payload = reader.next()
          if (payload) return parseReply(payload)
          if (end !== undefined) throw end
          await new Promise<void>((resolve) => {
            wake = resolve
            socket.resume()
          })
        }
      } catch (error) {
        if (error instanceof FrameTooLarge || error instanceof NotAReply) {
          throw new TransientError(error.message, { cause: error })
        }
        throw error
      } finally {
        cancel()
      }
    },
    [Symbol.dispose]() {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
    },
  }
}

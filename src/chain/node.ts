/**
 * The main thread's hold of bitcoind: NodeApi, answered by the node thread. Everything that parses bitcoind's bytes or
 * JSON runs over there, so that a 4 MB block or a mempool of 100,000 transactions never delays a taker's answer.
 */
import { once } from 'node:events'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { AccessRefused, BlockUnavailable, BrokenInvariant, ConfigError, TransientError } from '../errors.ts'
import { after } from '../world.ts'
import type { Exchange } from './client.ts'
import type { NodeApi, NodeReaderOptions } from './node-reader.ts'
import type { Spender } from './types.ts'

const LIMITS = {
  /** The thread may be loading, walking a block or reading a large reply. */
  closeMs: 3_000,
  /**
   * With a mempool of 100,000 some 20 MB live there; 1,000,000 must fit. Of what is made for a block or a reply next to nothing
   * lives on, so new objects have little room: more of it would be touched in turn, and be resident, to no use.
   */
  heap: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 512 },
}

export interface ThreadRequest {
  id: number
  method: keyof NodeApi
  args: unknown[]
  /** Exchanges with bitcoind are to be told from now on. */
  isTraced: boolean
}

export type ThreadReply =
  | 'closed'
  | { exchange: Exchange }
  | { id: number; ok: true; value: unknown }
  | { id: number; ok: false; name: string; message: string; stack: string | undefined }

interface Pending {
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
}

type Value<M extends keyof NodeApi> = Awaited<ReturnType<NodeApi[M]>>

const asIs = <T>(value: T): T => value
/** Buffers cross threads as Uint8Array. */
const withBuffer = (by: Spender): Spender => ({ ...by, rawTx: asBuffer(by.rawTx) })
const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Every call, with what makes its value on this side what it was on the other. */
const METHODS: { readonly [M in keyof NodeApi]: (value: Value<M>) => Value<M> } = {
  connect: asIs,
  inspect: asIs,
  view: asIs,
  hashesFrom: asIs,
  readBlock: asIs,
  waitForTip: asIs,
  mempoolChanges: asIs,
  waitForMempool: asIs,
  look: asIs,
  spendersInBlock: (spenders) => spenders.map((by) => by && withBuffer(by)),
  inputsInBlock: (inputs) => inputs.map((input) => input && { ...input, by: withBuffer(input.by) }),
  mempoolTransaction: (raw) => raw && asBuffer(raw),
  blockHeight: asIs,
  txProof: asIs,
  judge: asIs,
  output: asIs,
}

/** NodeApi whose calls reject at once when `signal` fires. */
export interface Node extends AsyncDisposable {
  with(signal: AbortSignal): NodeApi
  /** Rejects when the thread itself breaks: a bug of ours. */
  readonly broken: Promise<never>
}

/** `log`: gets each exchange with bitcoind, at level trace. */
export async function openNode(options: NodeReaderOptions, log?: Logger): Promise<Node> {
  const script = new URL(`./node-thread${extname(import.meta.url)}`, import.meta.url)
  // No environment: nothing over there may obey HTTP_PROXY and send our credentials elsewhere.
  const worker = new Worker(script, {
    workerData: options,
    env: {},
    name: 'bitcoind',
    resourceLimits: LIMITS.heap,
  })
  const pending = new Map<number, Pending>()
  const onClosed = Promise.withResolvers<void>()
  let nextId = 1
  let end: Error | undefined

  const broken = new Promise<never>((_, reject) => {
    const fail = (error: Error) => {
      end ??= error
      for (const { reject: rejectCall } of pending.values()) rejectCall(end)
      pending.clear()
      reject(end)
    }
    worker.on('error', (error) => fail(new BrokenInvariant('the node thread broke', { cause: error })))
    worker.on('exit', (code) => {
      fail(new BrokenInvariant(`the node thread ended by itself (${code})`))
      onClosed.resolve()
    })
  })
  broken.catch(() => {}) // whoever cares awaits it
  worker.on('message', (reply: ThreadReply) => {
    if (reply === 'closed') return onClosed.resolve()
    if ('exchange' in reply) return log?.trace(reply.exchange, 'bitcoind asked')
    const call = pending.get(reply.id)
    pending.delete(reply.id)
    if (!call) return // its caller was stopped meanwhile
    if (reply.ok) call.resolve(reply.value)
    else call.reject(revive(reply))
  })
  await once(worker, 'online')

  const call = (signal: AbortSignal, method: keyof NodeApi, args: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (end) return reject(end)
      if (signal.aborted) return reject(signal.reason)
      const id = nextId++
      const onAbort = () => {
        pending.delete(id)
        reject(signal.reason)
      }
      const settle = () => signal.removeEventListener('abort', onAbort)
      signal.addEventListener('abort', onAbort, { once: true })
      pending.set(id, {
        resolve: (value) => {
          settle()
          resolve(value)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      })
      const isTraced = log?.isLevelEnabled('trace') === true
      worker.postMessage({ id, method, args, isTraced } satisfies ThreadRequest)
    })

  return {
    broken,
    with: (signal) => {
      const methods = Object.entries(METHODS) as [keyof NodeApi, (value: unknown) => unknown][]
      return Object.fromEntries(
        methods.map(([method, receive]) => [
          method,
          (...args: unknown[]) => call(signal, method, args).then((value) => receive(value)),
        ]),
      ) as unknown as NodeApi
    },
    async [Symbol.asyncDispose]() {
      end ??= new TransientError('the node thread was stopped')
      // One that is loading answers when it has loaded. Ended in the middle of that, ZeroMQ's binary takes the process down.
      worker.postMessage('close')
      const cancel = after(LIMITS.closeMs, onClosed.resolve) // too busy to answer: ended all the same
      await onClosed.promise
      cancel()
      await worker.terminate()
    },
  }
}

/** What crosses the thread as itself; everything else is a bug of ours. */
const FATES = [TransientError, BlockUnavailable, ConfigError, AccessRefused]

function revive({ name, message, stack }: Extract<ThreadReply, { ok: false }>): Error {
  const Fate = FATES.find((known) => known.name === name)
  if (Fate) return new Fate(message)
  const error = new BrokenInvariant(message)
  if (stack !== undefined) error.stack = stack
  return error
}

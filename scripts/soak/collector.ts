/**
 * Has the daemon throw away its garbage before it is measured, by Node's inspector: V8 collects when it must, not when
 * there is nothing to do, and what it hasn't got round to is no growth.
 */
import { once } from 'node:events'
import { waitUntil } from '../../test/sandbox/wait.ts'

/** What is to be in the daemon's environment for it. */
export function inspected(port: number): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --inspect=127.0.0.1:${port}`.trim() }
}

export class Collector implements Disposable {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, () => void>()
  #asked = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const { id } = JSON.parse(String(data)) as { id?: number }
      this.#waiting.get(id ?? 0)?.()
    })
  }

  static async open(port: number): Promise<Collector> {
    const url = await waitUntil('the inspector answers', async () => {
      const reply = await fetch(`http://127.0.0.1:${port}/json/list`).catch(() => undefined)
      const [target] = reply ? ((await reply.json()) as { webSocketDebuggerUrl: string }[]) : []
      return target?.webSocketDebuggerUrl
    })
    const socket = new WebSocket(url)
    await once(socket, 'open')
    return new Collector(socket)
  }

  /** Twice: what was waiting to be finalised goes with the second. */
  async collect(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const id = ++this.#asked
      const done = new Promise<void>((resolve) => this.#waiting.set(id, resolve))
      this.#socket.send(JSON.stringify({ id, method: 'HeapProfiler.collectGarbage' }))
      await done
      this.#waiting.delete(id)
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close()
  }
}

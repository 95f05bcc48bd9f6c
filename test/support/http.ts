/** Asking the daemon's HTTP server as programs do: requests with headers of the test's choosing, and event streams. */
import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
  /** Of a JSON reply; undefined else. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
  json: any
}

export interface Asking {
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** `path` is sent as it is, also where no browser would send it. */
export async function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: Asking = {},
): Promise<Answer> {
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const sent = request({ host: '127.0.0.1', port, path, method, headers: { ...length, ...headers }, agent: false })
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  const isJson = response.headers['content-type']?.startsWith('application/json') === true && text !== ''
  return { status: response.statusCode!, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined }
}

export interface StreamEvent {
  kind: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of every shape
  data: any
}

export class EventStream implements Disposable {
  readonly events: StreamEvent[] = []
  readonly headers: IncomingHttpHeaders
  isEnded = false
  readonly #response: IncomingMessage

  private constructor(response: IncomingMessage) {
    this.#response = response
    this.headers = response.headers
    let rest = ''
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      const blocks = (rest + text).split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        const kind = /^event: (.*)$/m.exec(block)?.[1]
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (kind !== undefined && data !== undefined) this.events.push({ kind, data: JSON.parse(data) })
      }
    })
    const onEnd = () => {
      this.isEnded = true
    }
    response.on('end', onEnd).on('error', onEnd).on('close', onEnd)
  }

  static async open(port: number): Promise<EventStream> {
    const sent = request({ host: '127.0.0.1', port, path: '/api/v1/events', agent: false }).end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    if (response.statusCode !== 200) throw new Error(`no stream: ${response.statusCode}`)
    return new EventStream(response)
  }

  of(kind: string): StreamEvent[] {
    return this.events.filter((event) => event.kind === kind)
  }

  [Symbol.dispose](): void {
    this.#response.destroy()
  }
}

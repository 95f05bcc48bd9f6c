/** The verb `clients`: asks the running daemon, over its HTTP door, who is connected. Nothing of it is ever stored. */
import { z } from 'zod'
import type { Config } from '../config.ts'
import { ConfigError, describeError, UnreachableError } from '../errors.ts'
import { formatHostPort, reachableAddress } from '../tor/address.ts'
import { type ClientRow, clientSchema } from '../views/schemas/clients.ts'

const LIMITS = {
  /** It is on this machine. */
  timeoutMs: 10_000,
  pageRows: 1_000,
  /** More connections than may be allowed: 100,000. */
  pagesMax: 101,
}

const pageSchema = z.object({ clients: z.array(clientSchema), next: z.string().nullable() })

/** All clients, those that cost most of late first. Throws ConfigError without HTTP, UnreachableError without a daemon. */
export async function readClients({ http }: Config, signal: AbortSignal): Promise<ClientRow[]> {
  if (!http) throw new ConfigError('clients asks the daemon over HTTP, and --http is off: give --http a host:port')
  const at = formatHostPort({ ...reachableAddress(http.listen), port: http.listen.port })
  const clients: ClientRow[] = []
  let after: string | null = ''
  for (let pages = 0; after !== null && pages < LIMITS.pagesMax; pages++) {
    const url: string = `http://${at}/api/v1/clients?limit=${LIMITS.pageRows}${after && `&after=${after}`}`
    const page = await readPage(url, signal).catch((error: unknown) => {
      if (signal.aborted) throw error
      throw new UnreachableError(
        `the daemon did not answer at --http ${at}: ${describeError(error)}. See that it runs, and that this is its --http`,
        { cause: error },
      )
    })
    clients.push(...page.clients)
    after = page.next
  }
  return clients.sort((a, b) => b.units_lately - a.units_lately || a.id - b.id)
}

async function readPage(url: string, signal: AbortSignal): Promise<z.infer<typeof pageSchema>> {
  const reply = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(LIMITS.timeoutMs)]) })
  if (!reply.ok) throw new Error(`HTTP ${reply.status}`)
  return pageSchema.parse(await reply.json())
}

/**
 * The operator's door: dashboard, health, metrics, JSON API and event stream. Read only. No request makes Tor work, and
 * one reaches bitcoind: `/spends`, which may look an outpoint up as a taker's `WatchMany` does. fastify appears only here.
 */

import type { AddressInfo } from 'node:net'
import { type FastifyInstance, fastify } from 'fastify'
import { z } from 'zod'
import type { Core } from '../core.ts'
import { ConfigError, isAbort } from '../errors.ts'
import { EventStreams } from '../events/stream.ts'
import { printable } from '../format.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import { VERSION } from '../version.ts'
import { withBroken } from '../views/broken.ts'
import { whyNotListening } from '../wire/listening.ts'
import { priceOfBytes } from '../wire/prices.ts'
import { assertAllowed, HttpFault, HTTP_LIMITS as LIMITS, SECURITY_HEADERS } from './guard.ts'
import { openApiDocument } from './openapi.ts'
import { readServedPages } from './pages.ts'
import type { ErrorCode } from './replies.ts'
import { type AnyRoute, ROUTES } from './routes.ts'
import { Visitors } from './visitors.ts'

export interface HttpOptions {
  listen: HostPort
  /** Names we answer to besides those of this machine. */
  hosts: readonly string[]
}

export interface HttpServer extends AsyncDisposable {
  readonly host: string
  /** The actual one, also when 0 was asked for. */
  readonly port: number
}

/**
 * Listens. Throws ConfigError naming --http when that can't be had. Disposing closes every connection at once; what waits
 * when `signal` fires is answered that the tracker is busy.
 */
export async function serveHttp({ listen, hosts }: HttpOptions, core: Core, signal: AbortSignal): Promise<HttpServer> {
  const log = core.log.child({ room: 'http' })
  const { registry } = core.meters
  const app = fastify({
    logger: false,
    bodyLimit: 1, // nobody has anything to tell us
    requestTimeout: LIMITS.requestMsMax,
    connectionTimeout: LIMITS.idleMsMax,
    keepAliveTimeout: LIMITS.keepAliveMs,
    forceCloseConnections: true,
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: LIMITS.pathParamChars, ignoreTrailingSlash: false },
    // A path that can't be decoded, or is too long, gets here before any hook.
    frameworkErrors: (error, _, reply) => {
      const { code, status, message } = asFault(error)
      const headers = { ...SECURITY_HEADERS, 'content-type': 'application/json; charset=utf-8' }
      reply.raw.writeHead(status, headers).end(JSON.stringify(errorBody(code, message)))
    },
    http: {
      maxHeaderSize: LIMITS.headerBytesMax,
      headersTimeout: LIMITS.requestMsMax,
      connectionsCheckingInterval: LIMITS.sweepMs,
    },
  })
  const visitors = new Visitors(app.server, LIMITS.connectionsMax, core.work, core.random)

  app.addHook('onRequest', async ({ method, headers, socket }, reply) => {
    reply.headers(SECURITY_HEADERS)
    assertAllowed(method, headers, listen, hosts)
    visitors.noteAsked(socket)
    const lane = visitors.laneOf(socket)
    await lane.afford()
    lane.charge(1)
  })
  app.addHook('onSend', async ({ socket }, _, payload) => {
    if (typeof payload === 'string' || payload instanceof Buffer) {
      visitors.laneOf(socket).charge(priceOfBytes(payload.length))
    }
    return payload
  })
  app.addHook('onResponse', async ({ method, url }, { statusCode: status, elapsedTime }) => {
    if (!log.isLevelEnabled('debug')) return
    log.debug({ method, path: printable(url, 200), status, tookMs: Math.round(elapsedTime) }, 'HTTP request answered')
  })
  app.setNotFoundHandler((request) => {
    throw new HttpFault('not_found', `there is nothing at ${request.url.slice(0, 200)}`)
  })
  app.setErrorHandler((error: Error, request, reply) => {
    const fault = isAbort(error, signal) ? new HttpFault('busy', 'the tracker is being stopped') : asFault(error)
    if (fault.code === 'internal' && !request.socket.destroyed)
      log.error({ err: error, path: request.url }, 'an HTTP request failed')
    if (fault.code === 'method_not_allowed') reply.header('allow', 'GET, HEAD')
    if (fault.code === 'not_synced') reply.header('retry-after', '5')
    reply.code(fault.status).header('cache-control', 'no-store').send(errorBody(fault.code, fault.message))
  })

  const streams = new EventStreams(core.changes, core.random)
  for (const route of ROUTES) addRoute(app, route, core, visitors)
  addPages(app)
  const document = openApiDocument(VERSION)
  app.get('/openapi.json', (_, reply) => reply.header('cache-control', 'no-cache').send(document))
  app.get('/metrics', async (_, reply) => {
    reply.header('content-type', registry.contentType).header('cache-control', 'no-store')
    return registry.metrics()
  })
  app.get('/api/v1/events', { exposeHeadRoute: false }, (_, reply) => {
    streams.open(reply.raw, SECURITY_HEADERS)
    reply.hijack()
  })

  try {
    await app.listen({ host: listen.host, port: listen.port })
  } catch (error) {
    streams[Symbol.dispose]()
    await app.close()
    throw new ConfigError(
      `--http ${formatHostPort(listen)} can't be listened on: ${whyNotListening(error)}; or --http off`,
      { cause: error },
    )
  }
  const { address, port } = app.server.address() as AddressInfo
  return {
    host: address,
    port,
    async [Symbol.asyncDispose]() {
      streams[Symbol.dispose]()
      await app.close()
    },
  }
}

function addRoute(
  app: FastifyInstance,
  { path, params, query, reply: schema, answer }: AnyRoute,
  core: Core,
  visitors: Visitors,
) {
  const pattern = path.replace(/\{(\w+)\}/g, ':$1')
  app.get(pattern, async (request, reply) => {
    const [about, filter] = [judge(params, request.params), judge(query, request.query)]
    const lane = visitors.laneOf(request.socket)
    const { status = 200, body } = await lane.begin(() => answer(core, about, filter, lane))
    return reply.code(status).header('cache-control', 'no-store').send(withBroken(schema, body))
  })
}

function judge(schema: z.ZodType, raw: unknown): unknown {
  const { success, data, error } = schema.safeParse(raw)
  if (success) return data
  const { path, message } = error.issues[0]!
  throw new HttpFault('bad_request', path.length > 0 ? `${path.join('.')}: ${message}` : message)
}

function addPages(app: FastifyInstance): void {
  for (const { path, contentType, body, etag, policy } of readServedPages()) {
    app.get(path, (request, reply) => {
      reply.headers({ etag, 'cache-control': 'no-cache', ...(policy && { 'content-security-policy': policy }) })
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.type(contentType).send(body)
    })
  }
}

/** What fastify itself refuses (a body, a path that can't be decoded) is a bad request; the rest is our failure. */
function asFault(error: Error): HttpFault {
  if (error instanceof HttpFault) return error
  const status = 'statusCode' in error ? Number(error.statusCode) : 500
  if (!(error instanceof z.ZodError) && status >= 400 && status < 500) {
    return new HttpFault('bad_request', error.message)
  }
  return new HttpFault('internal', 'the request failed inside the tracker; its log says why')
}

function errorBody(code: ErrorCode, message: string): { error: { code: ErrorCode; message: string } } {
  return { error: { code, message } }
}

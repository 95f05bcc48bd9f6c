/**
 * Who may ask, what that may cost us, and how a request is refused. A web page that the operator visits runs in a browser
 * on the same machine: it must neither read us by giving its own name our address (DNS rebinding), nor use up our streams
 * from afar. Pure.
 */
import { type HostPort, isLoopback, parseHostPort } from '../tor/address.ts'
import type { ErrorCode } from './replies.ts'

export interface AskedHeaders {
  host?: string | undefined
  'sec-fetch-site'?: string | string[] | undefined
  'sec-fetch-mode'?: string | string[] | undefined
}

/** Throws HttpFault when the request is not for us, or comes from somebody else's page. */
export function assertAllowed(method: string, headers: AskedHeaders, listen: HostPort, hosts: readonly string[]): void {
  if (!isOurs(headers.host, listen, hosts)) {
    throw new HttpFault('misdirected', 'this name is not one of ours: see --http-hosts')
  }
  const site = headers['sec-fetch-site']
  // Following a link to us is fine, being embedded in or fetched by another site is not. Only browsers send this.
  if ((site === 'cross-site' || site === 'same-site') && headers['sec-fetch-mode'] !== 'navigate') {
    throw new HttpFault('forbidden', 'another site may not ask')
  }
  if (method !== 'GET' && method !== 'HEAD') throw new HttpFault('method_not_allowed', 'read only: GET or HEAD')
}

/** Any port: it may be forwarded. Names count, since only they can be rebound. */
function isOurs(header: string | undefined, listen: HostPort, hosts: readonly string[]): boolean {
  if (header === undefined) return false
  const bare = header.toLowerCase()
  const name = parseHostPort(bare)?.host ?? bare.replace(/^\[|\]$/g, '')
  const isWildcard = listen.host === '0.0.0.0' || listen.host === '::'
  return (
    isLoopback(name) ||
    (!isWildcard && name === listen.host.toLowerCase()) ||
    hosts.some((host) => host.replace(/^\[|\]$/g, '') === name)
  )
}

/** Scripts and styles come from us alone, none is written into a page, and nothing may frame us. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
]

/**
 * Of the page of the API: Swagger UI makes its parts from HTML that it has cleaned itself (DOMPurify), and has pictures in
 * its styles. What it shows is our own document.
 */
export const VIEWER_POLICY = POLICY.map((rule) => (rule === "img-src 'self'" ? `${rule} data:` : rule)).join('; ')

/** On every reply; who follows a link from here does not tell where he was. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [...POLICY, "require-trusted-types-for 'script'", "trusted-types 'none'"].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'x-robots-tag': 'noindex',
}

/** What those who ask over HTTP may cost us, each with its reason. All are people or programs of the operator. */
export const HTTP_LIMITS = {
  /** A few browsers with six connections each, a scraper, a script. */
  connectionsMax: 128,
  /** Headers of a browser with its cookies for localhost; we read only a few of them. */
  headerBytesMax: 16_384,
  /** From the first byte of a request to its last: they have no body worth waiting for. */
  requestMsMax: 10_000,
  /** How often the two deadlines above and below are looked after. */
  sweepMs: 2_000,
  /** An idle connection is worth little on loopback; longer than a scraper's usual 15 s interval pays no one. */
  keepAliveMs: 5_000,
  /** A socket on which nothing moves, streams included: they carry a heartbeat well within this. */
  idleMsMax: 60_000,
  /** Rows of a page, unless asked for; and at the most: 1,000 bonds take about 600 kB of JSON. */
  pageRows: 100,
  pageRowsMax: 1_000,
  /** Points of a history, unless asked for; and at the most: a plot is a few hundred pixels wide. */
  historyPoints: 200,
  historyPointsMax: 1_000,
  /** Hours of the relays' history, unless asked for; and points of it, all relays together. */
  relayHours: 168,
  relayPointsMax: 2_000,
  /** Longest of our path parameters is an onion address with its port, 68 characters. */
  pathParamChars: 128,
} as const satisfies Record<string, number>

const STATUS: Record<ErrorCode, number> = {
  bad_request: 400,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  misdirected: 421,
  internal: 500,
  not_synced: 503,
  busy: 503,
}

/** A request that can't be answered as asked: becomes `{"error": {code, message}}` with its status. */
export class HttpFault extends Error {
  override readonly name = 'HttpFault'
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string) {
    super(message)
    this.code = code
  }
  get status(): number {
    return STATUS[this.code]
  }
}

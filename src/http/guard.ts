/**
 * Who may ask. A web page that the operator visits runs in a browser on the same machine: it must neither read us by
 * giving its own name our address (DNS rebinding), nor use up our streams from afar. Pure.
 */
import { type HostPort, isLoopback, parseHostPort } from '../tor/address.ts'
import { HttpFault } from './fault.ts'

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

/** On every reply. Scripts and styles come from us alone, and nothing may frame us or learn where we are. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'x-robots-tag': 'noindex',
}

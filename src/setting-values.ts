/**
 * What the value of a setting may be: text, numbers, addresses, each with what is expected where it is something else. No
 * message repeats the value, which may be a password in the wrong place.
 */
import { BlockList, isIP } from 'node:net'
import { z } from 'zod'
import { NETWORKS } from './chain/types.ts'
import { ConfigError } from './errors.ts'
import { Secret } from './secret.ts'
import { parsePostgresAddress } from './store/shared/postgres/address.ts'
import { type HostPort, isOnionHost, parseHostPort, type TorPort } from './tor/address.ts'

/** Flags and environment give text, TOML gives typed values: both are understood, nothing else is coerced. */
const text = z.string().min(1, 'must not be empty')
const flag = z.union([
  z.boolean(),
  z.enum(['true', 'false', '1', '0'], 'expected true or false').transform((word) => word === 'true' || word === '1'),
])
const whole = (min: number, max: number) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^\d{1,15}$/)
          .transform(Number),
      ],
      `expected a whole number from ${min} to ${max}`,
    )
    .refine((n) => Number.isInteger(n) && n >= min && n <= max, `expected a whole number from ${min} to ${max}`)
/** `host:port` of a name or an address that a socket can be opened to; an IPv6 address stands in brackets. */
function readAddress(value: string): HostPort | undefined {
  const address = parseHostPort(value)
  if (!address) return undefined
  const isName = /^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?$/i.test(address.host) && !/^[\d.]+$/.test(address.host)
  return isName || isIP(address.host) !== 0 ? address : undefined
}
/** What is wrong with what was no address, without its text: it may hold a password. */
function addressFault(value: string, expected: string): string {
  const scheme = /^([a-z][a-z0-9+.-]{0,15}):\/\//i.exec(value)?.[1]
  if (value.includes('@')) return `${expected}, without user and password`
  if (scheme !== undefined) return `${expected}, without ${scheme}://`
  if (value.split(':').length > 2 && !value.startsWith('[')) return `${expected}; an IPv6 address stands in brackets`
  return expected
}
const HOST_PORT = 'expected host:port, for example 127.0.0.1:8080'
const hostPort = text.transform((value, context): HostPort => {
  const address = readAddress(value)
  if (address) return address
  context.addIssue(addressFault(value, HOST_PORT))
  return z.NEVER
})
/** A host with or without its port; the port alone is none, and where an IPv6 address ends brackets say. */
function readHost(value: string): { host: string; port?: number } | undefined {
  const host = value.replace(/^\[(.*)\]$/, '$1')
  return readAddress(value) ?? (readAddress(`${value}:1`) ? { host } : undefined)
}
/** bitcoind's: it speaks plain HTTP, so `http://` says nothing new. Without a port it is the network's. */
const rpcAddress = text.transform((value, context): { host: string; port?: number } => {
  const address = readHost(value.replace(/^http:\/\//i, '').replace(/\/$/, ''))
  if (address) return address
  context.addIssue(
    value.includes('@')
      ? 'expected host:port alone: user and password are given by --auth, better in the environment or the file'
      : /^https:/i.test(value)
        ? 'expected host:port: bitcoind speaks no TLS, and neither do we with it; one behind TLS is reached by a tunnel'
        : /^\d+$/.test(value)
          ? `expected host:port: of this machine it is 127.0.0.1:${value.slice(0, 5)}`
          : addressFault(
              value.replace(/^http:\/\//i, ''),
              "expected host:port, for example 127.0.0.1:8332, or a host alone for the network's port",
            ),
  )
  return z.NEVER
})
/** sun_path of Linux, without the byte that ends it. */
const SOCKET_PATH_BYTES_MAX = 107

/** A port of Tor's: one of this machine, host:port, or a socket as torrc has it (`unix:/path`, also quoted). */
const torPort = z.union([z.number(), z.string()]).transform((value, context): TorPort => {
  const given = String(value)
  const path = /^(?:unix:)?(\/.*)$/.exec(given)?.[1] ?? /^unix:"(\/[^"]*)"$/.exec(given)?.[1]
  if (path !== undefined && Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX && !path.includes('\0')) return { path }
  const address = readAddress(/^\d+$/.test(given) ? `127.0.0.1:${given}` : given)
  if (address) return address
  context.addIssue(
    /^unix:|^\//.test(given)
      ? `expected the absolute path of a socket, ${SOCKET_PATH_BYTES_MAX} bytes at most, for example unix:/run/tor/control`
      : addressFault(given, 'expected a port from 1 to 65535, host:port, or unix:/path'),
  )
  return z.NEVER
})
/** A v3 onion host name; without a port, which is that of --address. */
const onionName = text
  .transform((value) => value.trim().toLowerCase())
  .refine(isOnionHost, 'expected the name of a v3 onion service without a port, 56 characters and .onion')
/** Where the HTTP server listens, or `off`. */
const hostPortOrOff = text.transform((value, context): HostPort | 'off' => {
  const address = value === 'off' ? value : readAddress(value)
  if (address) return address
  context.addIssue(addressFault(value, `${HOST_PORT}, or off`))
  return z.NEVER
})
/** Host names, in a list or separated by commas. */
const hostNames = z
  .union([z.array(z.string()), text.transform((value) => value.split(','))], 'expected host names')
  .transform((names) => names.map((name) => name.trim().toLowerCase()))
  .refine(
    (names) => names.every((name) => /^[a-z0-9._-]{1,253}$|^\[[0-9a-f:.]+\]$/.test(name)),
    'expected host names without ports, separated by commas',
  )
const userPass = text
  .refine((value) => value.indexOf(':') > 0, 'expected user:password')
  .transform((value) => new Secret(value))
const secret = text.transform((value) => new Secret(value))

/** Where PostgreSQL is; read again by whoever dials it, so that the password is in one place. */
const postgresAddress = text.transform((value, context): Secret => {
  try {
    parsePostgresAddress(value)
    return new Secret(value)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    context.addIssue(error.message)
    return z.NEVER
  }
})

/** Addresses, in a list or separated by commas. */
const hostPorts = z.union([z.array(z.string()), z.string()]).transform((value, context): HostPort[] => {
  const names = (typeof value === 'string' ? value.split(',') : value).map((name) => name.trim())
  const parsed = names.map(readAddress)
  if (parsed.every((address) => address !== undefined)) return parsed
  const wrong = names.find((name) => !readAddress(name))!
  context.addIssue(addressFault(wrong, 'expected addresses host:port, separated by commas'))
  return z.NEVER
})

const httpUrl = text.transform((value, context): URL => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (url && isHttp && url.username === '' && url.password === '') return url
  context.addIssue('expected http:// or https:// and an address without a user name or password')
  return z.NEVER
})

/** WebSocket addresses of relays, in a list or separated by commas; as URLs are written, without a trailing slash. */
const relayUrls = z.union([z.array(z.string()), z.string()]).transform((value, context): string[] => {
  const names = (typeof value === 'string' ? value.split(',') : value).map((name) => name.trim())
  const parsed = names.map(readRelayUrl)
  if (parsed.every((url) => url !== undefined)) return [...new Set(parsed)]
  context.addIssue(
    'expected addresses of relays, wss://host or ws://host:port, separated by commas, without user, password or #',
  )
  return z.NEVER
})
function readRelayUrl(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined
  const isPlain = url && url.username === '' && url.password === '' && url.hash === '' && url.hostname !== ''
  return isPlain && /^wss?:$/.test(url.protocol) ? url.href.replace(/\/$/, '') : undefined
}

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** `auto`: for people on a terminal, JSON else. */
export const LOG_FORMATS = ['auto', 'pretty', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** As other programs call the networks. */
const NETWORK_ALIASES: { readonly [name: string]: string } = { mainnet: 'main', testnet: 'testnet3' }
const network = text.transform((name) => NETWORK_ALIASES[name] ?? name).pipe(z.enum(NETWORKS))

export const SETTING_VALUES = {
  text,
  flag,
  whole,
  network,
  hostPort,
  hostPorts,
  hostPortOrOff,
  torPort,
  rpcAddress,
  hostNames,
  httpUrl,
  onionName,
  relayUrls,
  userPass,
  secret,
  postgresAddress,
}

const OWN_NETWORKS = new BlockList()
for (const [net, prefix] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['0.0.0.0', 8],
] as const)
  OWN_NETWORKS.addSubnet(net, prefix, 'ipv4')
for (const [net, prefix] of [
  ['fc00::', 7],
  ['fe80::', 10],
  ['::', 127],
] as const)
  OWN_NETWORKS.addSubnet(net, prefix, 'ipv6')

/** True for private and link-local addresses (RFC 1918, 3927, 4193, 6598), which no exit of Tor's can mean. */
export function isOfOwnNetwork(host: string): boolean {
  const family = isIP(host)
  return family !== 0 && OWN_NETWORKS.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

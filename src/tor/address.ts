/**
 * Onion addresses as words: v3 host names with their checksum, and `host:port`.
 * Source: rend-spec-v3 §6 [ONIONADDRESS]: base32(PUBKEY ‖ CHECKSUM ‖ VERSION) + ".onion",
 * CHECKSUM = first 2 bytes of SHA3-256(".onion checksum" ‖ PUBKEY ‖ VERSION), VERSION = 3.
 */
import { createHash } from 'node:crypto'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const LABEL = /^[a-z2-7]{56}$/

/** 35 bytes of a 56-character label. */
function decodeLabel(label: string): Buffer {
  const bytes = Buffer.alloc(35)
  let bits = 0
  let value = 0
  let at = 0
  for (const char of label) {
    value = (value << 5) | ALPHABET.indexOf(char)
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[at++] = (value >>> bits) & 0xff
    }
  }
  return bytes
}

function checksum(publicKey: Uint8Array): Buffer {
  return createHash('sha3-256').update('.onion checksum').update(publicKey).update(Buffer.of(3)).digest().subarray(0, 2)
}

/** True for a valid v3 label: 56 lower-case base32 characters, version byte 3, checksum right. Without ".onion". */
export function isOnionLabel(label: string): boolean {
  if (!LABEL.test(label)) return false
  const bytes = decodeLabel(label)
  return bytes[34] === 3 && checksum(bytes.subarray(0, 32)).equals(bytes.subarray(32, 34))
}

/** True for `<label>.onion` with a valid v3 label. */
export function isOnionHost(host: string): boolean {
  return host.endsWith('.onion') && isOnionLabel(host.slice(0, -6))
}

/** The host name of a v3 service, from its 32-byte Ed25519 public key. */
export function onionHostOf(publicKey: Uint8Array): string {
  const bytes = Buffer.concat([publicKey, checksum(publicKey), Buffer.of(3)])
  let label = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      label += ALPHABET[(value >>> bits) & 31]
    }
    value &= 0xff
  }
  return `${label}.onion`
}

export interface HostPort {
  host: string
  port: number
}

/** Reads `host:port` (port 1–65535, canonical decimal); an IPv6 host stands in brackets. Undefined when it is not one. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):([1-9]\d{0,4})$/.exec(text)
  if (!match) return undefined
  const port = Number(match[2])
  if (port > 65535) return undefined
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port }
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** A socket in the file system, by its absolute path. */
export interface UnixSocket {
  path: string
}

/** Where a port of Tor's is; as it stands, what `connect` of node:net takes. */
export type TorPort = HostPort | UnixSocket

export function isUnixSocket(port: TorPort): port is UnixSocket {
  return 'path' in port
}

/** As torrc and our settings have it: `host:port`, or `unix:/path`. */
export function formatTorPort(port: TorPort): string {
  return isUnixSocket(port) ? `unix:${port.path}` : formatHostPort(port)
}

/** Where programs of this machine, Tor among them, reach what listens at `listen`: a wildcard is no place to dial. */
export function reachableAddress({ host, port }: HostPort): HostPort {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port }
  return { host: host === '::' ? '::1' : host, port }
}

/** True for a name or address that only programs of the same machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** A URL's host without the brackets of an IPv6 address. */
export function urlHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}

/** The maker somebody asks about: all of its host, or one port of it. */
export type MakerName = { address: string } | { host: string }

/** `host.onion:port`, `host.onion` or its 56 characters; with test addresses `127.0.0.1:port` too. */
export function parseMakerName(
  text: string,
  { allowTestAddresses }: { allowTestAddresses: boolean },
): MakerName | undefined {
  if (isOnionHost(text)) return { host: text }
  if (isOnionLabel(text)) return { host: `${text}.onion` }
  const parsed = parseHostPort(text)
  if (!parsed) return undefined
  return isOnionHost(parsed.host) || (allowTestAddresses && parsed.host === '127.0.0.1') ? { address: text } : undefined
}

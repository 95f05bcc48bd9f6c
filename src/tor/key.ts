/**
 * The onion service's key: an Ed25519 expanded secret key as Tor keeps it (64 bytes: clamped scalar ‖ hash half), in a
 * file of ours, 0600, written before it is first announced. The file holds Tor's own form, `ED25519-V3:<base64>`.
 * Sources: rend-spec-v3 (key blinding, "expanded" keys), RFC 8032 5.1.5.
 */
import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { openKeyFile } from '../key-file.ts'
import type { Secret } from '../secret.ts'

/** In the data directory. */
export const ONION_KEY_FILE = 'onion.key'

const PREFIX = 'ED25519-V3:'
/** DER around a raw Ed25519 seed (RFC 8410). */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** Reads the key, or makes one and has it on disk before it returns. Throws ConfigError naming the file. */
export function openOnionKey(file: string): Secret {
  return openKeyFile(file, {
    what: 'onion key',
    lost: 'this address is lost',
    isKey: (text) => decodeOnionKey(text) !== undefined,
    create: () => PREFIX + expandSeed(randomBytes(32)).expanded.toString('base64'),
  })
}

/** The 64 bytes of a key in Tor's form; undefined when it is none. */
export function decodeOnionKey(text: string): Buffer | undefined {
  if (!text.startsWith(PREFIX)) return undefined
  const base64 = text.slice(PREFIX.length)
  const key = Buffer.from(base64, 'base64')
  return key.length === 64 && key.toString('base64') === base64 ? key : undefined
}

/** The expanded key and the public key of a 32-byte seed. */
export function expandSeed(seed: Uint8Array): { expanded: Buffer; publicKey: Buffer } {
  const expanded = createHash('sha512').update(seed).digest()
  expanded[0]! &= 248
  expanded[31]! = (expanded[31]! & 63) | 64
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32)
  return { expanded, publicKey }
}

/**
 * The onion service's key: an Ed25519 expanded secret key as Tor keeps it (64 bytes: clamped scalar ‖ hash half), in a
 * file of ours, 0600, written before it is first announced. The file holds Tor's own form, `ED25519-V3:<base64>`.
 * Sources: rend-spec-v3 (key blinding, "expanded" keys), RFC 8032 5.1.5.
 */
import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError, describeError } from '../errors.ts'
import { syncFile, writeWhole } from '../files.ts'
import { Secret } from '../secret.ts'

const PREFIX = 'ED25519-V3:'
/** DER around a raw Ed25519 seed (RFC 8410). */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** Reads the key, or makes one and has it on disk before it returns. Throws ConfigError naming the file. */
export function openOnionKey(file: string): Secret {
  let text: string
  try {
    const { mode } = statSync(file)
    if ((mode & 0o077) !== 0) {
      throw new ConfigError(`the onion key ${file} is open to other users: chmod 600 ${file}`)
    }
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return createKey(file)
    throw new ConfigError(`the onion key ${file} can't be read: ${describeError(error)}`)
  }
  const key = text.startsWith(PREFIX) ? Buffer.from(text.slice(PREFIX.length), 'base64') : Buffer.alloc(0)
  if (key.length !== 64 || key.toString('base64') !== text.slice(PREFIX.length)) {
    throw new ConfigError(
      `the onion key ${file} is damaged: put its copy back. Without a copy this address is lost, and only then: mv ${file} ${file}.damaged, and start makes a new one`,
    )
  }
  return new Secret(text)
}

function createKey(file: string): Secret {
  const { expanded } = expandSeed(randomBytes(32))
  const text = PREFIX + expanded.toString('base64')
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeWhole(file, `${text}\n`)
    syncFile(dirname(file))
  } catch (error) {
    throw new ConfigError(`the onion key ${file} can't be written: ${describeError(error)}`)
  }
  return new Secret(text)
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

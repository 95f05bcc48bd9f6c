/**
 * The tracker's own key (BIP-340): a secp256k1 scalar of 32 bytes, hex, in a file of ours, 0600. It signs what we announce
 * on Nostr; whoever has it can speak as this tracker, and nothing else.
 */
import { schnorr } from '@noble/curves/secp256k1.js'
import { openKeyFile } from '../key-file.ts'
import type { Secret } from '../secret.ts'

export const TRACKER_KEY_FILE = 'tracker.key'

/** Reads the key, or makes one and has it on disk before it returns. Throws ConfigError naming the file. */
export function openTrackerKey(file: string): Secret {
  return openKeyFile(file, {
    what: 'tracker key',
    lost: 'this public key is lost',
    isKey: (text) => /^[0-9a-f]{64}$/.test(text) && isScalar(Buffer.from(text, 'hex')),
    create: () => Buffer.from(schnorr.utils.randomSecretKey()).toString('hex'),
  })
}

function isScalar(bytes: Uint8Array): boolean {
  try {
    schnorr.getPublicKey(bytes)
    return true
  } catch {
    return false
  }
}

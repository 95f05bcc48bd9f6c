/** What is said of a maker, as people read it. Pure. */
import { BLOCK_S, number, plural } from './words.js'

export const VALUE_UNIT = 'sats¹·³'

export const VALUE_SENTENCE =
  'Value is what the locked sats would earn at 1.5 % a year from their confirmation to the end of the lock, to the power 1.3: one large bond is worth more than many small ones. Its unit is sats to the power 1.3 (sats¹·³).'

export const PICK_SENTENCE =
  'Picked is how often takers of today pick the maker by themselves for a swap of 1,000,000 sats: they take the first two by address of those that answer and suit them, whatever a bond is worth.'

export const NO_LOCK = '–, no lock announced'

/** A bond's value; format A announces no lock, from which it could be reckoned. */
export function valueInFull({ value, lock_height: lock }) {
  return lock === null ? NO_LOCK : `${number(value)} ${VALUE_UNIT}`
}

/** "89 days", of blocks; hours where it is less than two days, and minutes below one. */
export function lasting(blocks) {
  const hours = (blocks * BLOCK_S) / 3600
  if (hours < 1) return plural(blocks * 10, 'minute')
  return hours < 48 ? plural(Math.round(hours), 'hour') : plural(Math.round(hours / 24), 'day')
}

/** Of a million. What is not quite all is not rounded up to it, nor down to nothing. */
export function percent(ppm) {
  if (ppm === 0) return '0 %'
  if (ppm < 1_000) return '< 0.1 %'
  if (ppm > 999_000 && ppm < 1_000_000) return '> 99.9 %'
  return `${(ppm / 10_000).toFixed(ppm === 1_000_000 || ppm % 10_000 === 0 ? 0 : 1)} %`
}

/** What a check of a proof has found, by its name in docs/makers.md. */
const CHECKS = {
  malformed: 'its keys or hashes are malformed',
  'not-found': 'the chain has no such output',
  spent: 'its bond is spent',
  unconfirmed: 'its bond is not in a block',
  'lock-range': 'the lock is too short or too long',
  'lock-passed': 'the lock has passed',
  'cert-hash': 'the certificate is for another address or other terms',
  'bond-key': 'the key does not follow from the offer’s own',
  script: 'the output does not pay to that lock and key',
  amount: 'the amount is another one',
  signature: 'the signature is not that of the bond’s key',
  vout: 'the bond is not output 0',
  'not-announced': 'the transaction announces no maker',
  'announced-address': 'the transaction announces another maker',
  'announced-height': 'the transaction announces another lock height',
}

/** In a word or two, its tone, and the whole sentence. */
export function proofOf({ proven, proof_failed: failed, proof_note: note }) {
  if (failed !== null)
    return { word: 'failed', tone: 'bad', text: `Check ${failed} failed: ${CHECKS[failed] ?? failed}.` }
  if (!proven) return { word: 'not seen', tone: 'idle', text: 'It has shown no proof yet that the bond is its own.' }
  const but = note === null ? '' : ` Takers older than September 2026 refuse it: ${note}.`
  return { word: 'proven', tone: 'good', text: `An offer has proven that the bond is its own.${but}` }
}

export const STATES = {
  pending: 'waits for a block',
  live: 'live',
  expired: 'expired',
  spent: 'spent',
  refused: 'never qualified',
}

/** Why a bond never qualified. */
export const REFUSALS = {
  'not-p2wsh': 'output 0 is not P2WSH',
  'too-small': 'it is too small',
  'lock-too-short': 'its lock is too short',
  'lock-too-long': 'its lock is too long',
  'lock-passed': 'its lock had passed',
}

/** What was pasted as addresses and outpoints are written: no spaces, no http://, no capitals. */
export function normal(pasted) {
  return pasted
    .replace(/\s+/g, '')
    .toLowerCase()
    .replace(/^[a-z]+:\/\//, '')
    .replace(/\/.*$/, '')
}

/** What a search may be for, besides a part of a name: undefined when it is none of these. */
export function pastedKind(word) {
  if (/^[0-9a-f]{64}(:\d{1,10})?$/.test(word)) return 'outpoint'
  if (/^[a-z2-7]{50,60}(\.onion)?(:\d{1,5})?$/.test(word) || /\.onion(:\d+)?$/.test(word)) return 'address'
  if (/^127\.0\.0\.1:\d+$/.test(word)) return 'address'
  return undefined
}

/** A sentence that was begun small. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(whole) ? whole : `${whole}.`
}

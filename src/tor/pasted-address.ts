/**
 * Onion addresses as people paste them: out of a browser's bar, a chat, a log, an announcement. What can't be part of an
 * address is taken off; whether the rest is one, address.ts says. Pure.
 */
import { isOnionLabel } from './address.ts'

/** Nobody pastes more that means an address; what is longer isn't looked through. */
const CHARS_MAX = 2_000

/** Zero-width characters, direction marks, the soft hyphen, the byte order mark: nobody sees them. */
const UNSEEN = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/g
/** What stands around an address in a text. */
const AROUND = /^[\s"'`<>()[\]{}«»‘’“”„,;*_|=]+|[\s"'`<>()[\]{}«»‘’“”„,;.*_|=]+$/g

/**
 * Without scheme, path, the `#height` of an announcement, blanks, quotes and brackets; in small letters. `host.onion:21`,
 * `host.onion` or the 56 characters, if it was one of these; else whatever is left.
 */
export function tidyAddress(text: string): string {
  return text
    .slice(0, CHARS_MAX)
    .normalize('NFKC')
    .replace(UNSEEN, '')
    .replace(AROUND, '')
    .replace(/\s+/g, '')
    .replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
    .replace(/[/?#\\\])}>"'].*$/s, '')
    .replace(AROUND, '')
    .toLowerCase()
    .replace(/\.onion\.(?=:|$)/, '.onion')
    .replace(/:$/, '')
}

/** What is wrong with an address that is none, as tidied; without an end, to stand in a sentence. */
export function onionAddressFault(tidied: string): string {
  const colon = tidied.indexOf(':')
  const host = colon < 0 ? tidied : tidied.slice(0, colon)
  const label = host.replace(/\.onion$/, '')
  if (label === '') return 'there is nothing where the name should be'
  if (label.includes('.')) return 'it is no onion name, or has something before it'
  const odd = [...new Set(label.replace(/[a-z2-7]/g, ''))]
  if (odd.length > 0) {
    const shown = odd.slice(0, 5).map((char) => (/[\x21-\x7e]/.test(char) ? char : 'one that is not ASCII'))
    return `onion names have a to z and 2 to 7 alone, and here is ${[...new Set(shown)].join(' ')}`
  }
  if (label.length === 16) return 'it is an address of version 2, which Tor has given up in 2021'
  if (label.length !== 56) return `its name has ${label.length} characters, not 56`
  if (!isOnionLabel(label))
    return 'its name has 56 characters, and its checksum says that at least one of them is wrong'
  return 'its name is right, and what follows is no port (1 to 65535)'
}

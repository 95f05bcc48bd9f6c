/**
 * What Tor, or a filter before its control port, says no to: one sentence for each, with the cause and what to type. The
 * log, `doctor` and the dashboard show it as it is. Pure.
 * Source: control-spec 4 (reply codes); the words are those of Tor's control_cmd.c and of onion-grater.
 */
import { printable } from '../format.ts'

/** What Tor says itself is short; a stranger's text is cut. */
const WORDS_CHARS_MAX = 120

/** What a filter before the control port has to let through, and what is done without where it doesn't. */
export const CONTROL_COMMANDS = {
  needed: ['PROTOCOLINFO', 'AUTHCHALLENGE', 'AUTHENTICATE', 'ADD_ONION'],
  optional: [
    'SETEVENTS HS_DESC',
    'GETINFO version',
    'GETINFO status/bootstrap-phase',
    'GETINFO onions/current',
    'GETINFO consensus/valid-after',
    'GETINFO consensus/valid-until',
    'HSFETCH',
  ],
} as const

const LET_THROUGH = `let it through there (onion-grater: a .yml in /etc/onion-grater.d/, on Whonix in /usr/local/etc/onion-grater-merger.d/); needed are ${CONTROL_COMMANDS.needed.join(', ')}, and of use ${CONTROL_COMMANDS.optional.join(', ')}`
const TOR_LOG = 'sudo journalctl -u tor@default -n 30'

/** The words by which Tor says that it can't decode the key; "Invalid key type" is a Tor too old for it. */
const NO_KEY = /\bdecode\b.*\bkey\b/i

/** Tor refused a command. The message is the sentence for people. */
export class TorRefusal extends Error {
  override readonly name = 'TorRefusal'
  /** As it was given, without what may be secret: `ADD_ONION`, `GETINFO version`. */
  readonly command: string
  readonly code: number
  /** Tor's own, beside the code. */
  readonly words: string

  constructor(command: string, code: number, words: string) {
    super(sentenceOf(command, code, printable(words, WORDS_CHARS_MAX)))
    this.command = command
    this.code = code
    this.words = words
  }

  /** Tor says that the key itself is none. */
  get isKeyFault(): boolean {
    return (this.code === 512 || this.code === 513) && NO_KEY.test(this.words)
  }

  /** An argument is wrong, unknown to this Tor, or more than a filter lets through: with fewer it may be taken. */
  get isArgumentFault(): boolean {
    return (this.code === 510 || this.code === 512 || this.code === 513) && !NO_KEY.test(this.words)
  }
}

function sentenceOf(command: string, code: number, words: string): string {
  const refused = `${command} (${code} ${words})`
  if (/\bnon-anonymous\b/i.test(words)) {
    return `Tor runs without anonymity and refuses ${refused}: remove HiddenServiceNonAnonymousMode and HiddenServiceSingleHopMode from torrc, then: sudo systemctl restart tor`
  }
  if (/\bcollision\b/i.test(words)) {
    return `another program publishes our onion key through this Tor, or did a moment ago: Tor refuses ${refused}; if it stays so, stop that one, or: sudo systemctl restart tor`
  }
  if (NO_KEY.test(words)) return `Tor can't read the key, and refuses ${refused}: put the key's copy back`
  if (code === 510 && /\bunrecognized\b/i.test(words)) {
    return `Tor refuses ${refused}: it is too old for it (upgrade Tor to 0.4.8 or later), or a filter before its control port does not know it: ${LET_THROUGH}`
  }
  if (code === 510) return `a filter before Tor's control port refuses ${refused}: ${LET_THROUGH}`
  if (code === 513 && /\bkey type\b/i.test(words)) {
    return `this Tor is too old for v3 onion services and refuses ${refused}: upgrade it to 0.4.8 or later`
  }
  if (code === 512 || code === 513 || code === 552) {
    return `this Tor does not take ${refused}: upgrade it to 0.4.8 or later; if it is that new, its log says more: ${TOR_LOG}`
  }
  if (code === 514 || code === 515) {
    return `Tor's control port does not let us in, and refuses ${refused}: CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, then: sudo systemctl reload tor; or give --tor-auth-password`
  }
  return `Tor could not do ${refused}: its log says why: ${TOR_LOG}`
}

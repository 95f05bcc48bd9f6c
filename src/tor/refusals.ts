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
    'SETEVENTS HS_DESC HS_DESC_CONTENT STATUS_GENERAL',
    'HSFETCH',
    'DEL_ONION',
    'SIGNAL NEWNYM',
    'GETCONF HiddenServiceNonAnonymousMode',
    'GETINFO version onions/current hs/service/desc/id/* network-liveness status/bootstrap-phase status/circuit-established consensus/valid-after consensus/valid-until',
  ],
  /** Of a back end of Onionbalance, besides; its Tor serves nobody else, so nothing needs to stand before its port. */
  backEnd: ['GETCONF HiddenServiceDir', 'SETCONF', 'RESETCONF HiddenServiceOptions'],
} as const

/** Our service hides where it is, so it takes a Tor that does. */
export const BE_ANONYMOUS =
  'remove HiddenServiceNonAnonymousMode and HiddenServiceSingleHopMode from torrc, then: sudo systemctl restart tor'
/** The first Tor that knows every argument of ours. */
const KNOWS_ALL = '0.4.9.2'
export const LET_THROUGH = `let it through there (onion-grater: a .yml in /etc/onion-grater.d/, on Whonix in /usr/local/etc/onion-grater-merger.d/); needed are ${CONTROL_COMMANDS.needed.join(', ')}, and of use ${CONTROL_COMMANDS.optional.join(', ')}`
const TOR_LOG = 'sudo journalctl -u tor@default -n 30'

/** The words by which Tor says that it can't decode the key; "Invalid key type" is a Tor too old for it. */
const NO_KEY = /\bdecode\b.*\bkey\b/i

/** Tor refused a command. The message is the sentence for people: the cause, and the remedy. */
export class TorRefusal extends Error {
  override readonly name = 'TorRefusal'
  /** As it was given, without what may be secret: `ADD_ONION`, `GETINFO version`. */
  readonly command: string
  readonly code: number
  /** Tor's own, beside the code. */
  readonly words: string
  /** What to type. */
  readonly remedy: string

  constructor(command: string, code: number, words: string) {
    const said = printable(words, WORDS_CHARS_MAX)
    const { cause, remedy } = meaningOf(code, said, `${command} (${code} ${said})`)
    super(`${cause}: ${remedy}`)
    this.command = command
    this.code = code
    this.words = words
    this.remedy = remedy
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

/** `refused`: the command, and Tor's answer. */
function meaningOf(code: number, words: string, refused: string): { cause: string; remedy: string } {
  if (/\bnon-anonymous\b/i.test(words)) {
    return { cause: `Tor runs without anonymity and refuses ${refused}`, remedy: BE_ANONYMOUS }
  }
  if (/\bcollision\b/i.test(words)) {
    return {
      cause: `another program publishes our onion key through this Tor, or did a moment ago, so that it refuses ${refused}`,
      remedy: 'if it stays so, stop that one, or: sudo systemctl restart tor',
    }
  }
  if (NO_KEY.test(words)) {
    return { cause: `Tor can't read the key, and refuses ${refused}`, remedy: "put the key's copy back" }
  }
  if (code === 510 && /\bunrecognized\b/i.test(words)) {
    return {
      cause: `Tor is too old for it, or a filter before its control port does not know it, and refuses ${refused}`,
      remedy: `upgrade Tor to ${KNOWS_ALL} or later; of a filter: ${LET_THROUGH}`,
    }
  }
  if (code === 510) return { cause: `a filter before Tor's control port refuses ${refused}`, remedy: LET_THROUGH }
  if (/\bvirtport\/target\b/i.test(words)) {
    return {
      cause: `Tor can't use where the service is to lead to, and refuses ${refused}`,
      remedy: 'give --onion-target (or --address) an IP address, or a name that Tor can look up',
    }
  }
  if (code === 513 && /\bkey type\b/i.test(words)) {
    return {
      cause: `this Tor is too old for v3 onion services and refuses ${refused}`,
      remedy: `upgrade it to ${KNOWS_ALL} or later`,
    }
  }
  if (code === 512 || code === 513 || code === 552) {
    return {
      cause: `this Tor does not take ${refused}`,
      remedy: `upgrade it to ${KNOWS_ALL} or later; if it is that new, its log says more: ${TOR_LOG}`,
    }
  }
  if (code === 514 || code === 515) {
    return {
      cause: `Tor's control port does not let us in, and refuses ${refused}`,
      remedy: `CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, then: sudo systemctl reload tor; or give --tor-auth-password`,
    }
  }
  return { cause: `Tor could not do ${refused}`, remedy: `its log says why: ${TOR_LOG}` }
}

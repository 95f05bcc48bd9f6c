/** Numbers and times as people read them. Pure. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const day = new Intl.DateTimeFormat('en', { dateStyle: 'medium' })
const minute = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' })
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

export const number = (value) => whole.format(value)
export const short = (value) => compact.format(value)

/** Sats → "1.2345", BTC with as many decimals as say something. */
export function btc(sats) {
  if (sats === 0) return '0'
  const value = sats / 1e8
  const decimals = value >= 100 ? 1 : value >= 1 ? 2 : 4
  return value.toLocaleString('en', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
}

/** "3 minutes ago", of a time in Unix seconds. */
export function ago(timeS, nowS = Date.now() / 1000) {
  const seconds = Math.min(0, timeS - nowS)
  if (seconds > -60) return 'just now'
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), 'minute')
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), 'hour')
  return relative.format(Math.round(seconds / 86_400), 'day')
}

/** Of Unix seconds, in the reader's own zone: "14:05". */
export function clockTime(timeS) {
  return new Date(timeS * 1000).toLocaleTimeString('en-GB', { timeStyle: 'short' })
}

/** Of Unix seconds: "Nov 27, 2026". */
export const dateOf = (timeS) => day.format(timeS * 1000)

/** "Nov 27, 2026, 14:05". */
export const momentOf = (timeS) => minute.format(timeS * 1000)

/** When a block of the future is to be expected. */
export function dateIn(blocks, { block_time: time }) {
  return dateOf(time + blocks * BLOCK_S)
}

/** Milliseconds below a second, else seconds with a decimal. */
export function latency(ms) {
  return ms < 1000 ? `${number(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** Whether bitcoind may lack what others know, while it answers. A regtest has no peers, and nothing is amiss. */
export const isInDoubt = ({ bitcoind, network }) => bitcoind.warnings.length > 0 && network !== 'regtest'

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** A duration in seconds, roughly. */
export function roughly(seconds) {
  if (seconds < 90) return plural(Math.max(1, Math.round(seconds)), 'second')
  if (seconds < 5400) return plural(Math.round(seconds / 60), 'minute')
  if (seconds < 129_600) return plural(Math.round(seconds / 3600), 'hour')
  return plural(Math.round(seconds / 86_400), 'day')
}

/** A block comes every ten minutes. */
export const BLOCK_S = 600

export const days = (blocks) => Math.round((blocks * BLOCK_S) / 86_400)

export function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? '' : 's'}`
}

/** Of numbers in any order; undefined without any. */
export function median(values) {
  if (values.length === 0) return undefined
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)]
}

/** An offer's fees in short: what is fixed and what grows with the amount. */
export function feesInShort(offer) {
  const parts = []
  if (offer.base_fee > 0) parts.push(`${number(offer.base_fee)} sats`)
  if (offer.amount_relative_fee_pct > 0) parts.push(`${trimmed(offer.amount_relative_fee_pct)} %`)
  return parts.length > 0 ? parts.join(' + ') : 'none'
}

/** What grows with the time; nothing where nothing does. */
export function timeFee({ time_relative_fee_pct: perBlock }) {
  return perBlock > 0 ? `+ ${trimmed(perBlock)} % a block` : ''
}

/** What takers of today hold against an announcement, by the codes of `today_refusals`. */
const TODAY = {
  outputs: 'its transaction has more than three outputs',
  'announcement-place': 'the announcement is not output 1',
  'announcement-value': 'the announcement’s output has a value',
  push: 'the announcement is not one plain push of at most 67 bytes',
  'text-format': 'the announcement is in an older format',
  'leading-zero': 'the height begins with a zero',
  'locktime-kind': 'the transaction’s lock time is no height',
  sequences: 'every input of the transaction is final',
  'not-p2wsh': 'output 0 is not P2WSH',
  'too-small': 'the bond is too small',
  'lock-range': 'the bond is locked for too short or too long',
  unread: 'not known, as the transaction could not be read again',
}

export const todayRefusals = (codes) => codes.map((code) => TODAY[code] ?? code).join('; ')

export const trimmed = (value) => String(Number(value.toPrecision(3)))

/** `host.onion:port` as a bold beginning and a quiet rest. */
export function shortAddress(address) {
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon)
  const port = address.slice(colon)
  const name = host.replace(/\.onion$/, '')
  return name.length > 30 ? [name.slice(0, 16), `…${name.slice(-6)}.onion${port}`] : [host, port]
}

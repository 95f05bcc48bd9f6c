/** How values are written for people and for logs: a stranger's text, times, spans. Pure. */

/** A stranger's text, so that it can't steer a terminal or fill a log: printable ASCII, `charsMax` characters at the most. */
export function printable(text: string, charsMax = 300): string {
  const shown = text.slice(0, charsMax + 1).replace(/[^\x20-\x7e]/g, '?')
  return shown.length <= charsMax ? shown : `${shown.slice(0, charsMax - 3)}...`
}

/** `2026-11-21 06:00:00 UTC`. */
export function utc(unixMs: number): string {
  const date = new Date(unixMs)
  if (Number.isNaN(date.getTime())) return 'at an unknown time'
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** `2026-11-21 06:00 UTC`: where seconds say nothing. */
export function utcMinute(unixMs: number): string {
  return utc(unixMs).replace(/:\d\d UTC$/, ' UTC')
}

/** `45 s`, `90 min`, `30 h`, `12 days`: whole units, at least two of them above seconds. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 120) return `${s} s`
  if (s < 7_200) return `${Math.round(s / 60)} min`
  if (s < 172_800) return `${Math.round(s / 3_600)} h`
  return `${Math.round(s / 86_400)} days`
}

/** How long ago `unixS` was: `3 h ago`. */
export function ago(unixS: number, nowMs: number): string {
  return `${span(nowMs / 1000 - unixS)} ago`
}

const BLOCK_S = 600

/** About how long so many blocks take, as the chain aims at. */
export function blockSpan(blocks: number): string {
  return span(blocks * BLOCK_S)
}

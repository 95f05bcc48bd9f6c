/** How values are written for people and for logs: a stranger's text, times. Pure. */

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

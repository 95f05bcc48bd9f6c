/** Text for people: tables and times. */

/** Columns padded to their widest cell; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** `2026-11-21 06:00:00 UTC`. */
export function utc(unixMs: number): string {
  return Number.isNaN(unixMs)
    ? 'at an unknown time'
    : `${new Date(unixMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

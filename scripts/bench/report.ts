/** Tables on the terminal. */

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!
}

export function report(title: string, rows: readonly (readonly (string | number)[])[]): void {
  process.stdout.write(`${title}\n`)
  for (const [name, ...cells] of rows) {
    const shown = cells.map((cell) => (typeof cell === 'string' ? cell : formatNumber(cell)).padStart(10))
    process.stdout.write(`  ${String(name).padEnd(30)}${shown.join('')}\n`)
  }
}

function formatNumber(n: number): string {
  return n >= 100 ? n.toFixed(0) : n.toFixed(2)
}

/** Doctor's findings as text: a line each, and under it what to type. */
import type { Finding } from '../doctor/finding.ts'

const MARKS = { ok: '✓', warning: '!', failure: '✗' } as const

export function describeFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, level, text, fix }) => [
    `${MARKS[level]} ${check.padEnd(width)}  ${text}`,
    ...(fix === undefined ? [] : [`  ${' '.repeat(width)}  → ${fix}`]),
  ])
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length
  lines.push('', `${count('ok')} fine, ${count('warning')} to look at, ${count('failure')} to repair`)
  return lines.join('\n')
}

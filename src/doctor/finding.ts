/** What doctor says of one thing: well, worth a look, or broken, and then the exact thing to type. */

export interface Finding {
  /** What was looked at; stable, for scripts. */
  check: string
  level: 'ok' | 'warning' | 'failure'
  text: string
  /** What to type or to change; absent when all is well. */
  fix?: string
}

export function well(check: string, text: string): Finding {
  return { check, level: 'ok', text }
}

/** It works, but not as well as it could, or not for long. */
export function worth(check: string, text: string, fix: string): Finding {
  return { check, level: 'warning', text, fix }
}

/** The daemon doesn't work like this. */
export function broken(check: string, text: string, fix: string): Finding {
  return { check, level: 'failure', text, fix }
}

/** 0 fine, 1 warnings, 2 failures. */
export function doctorExitCode(findings: readonly Finding[]): number {
  if (findings.some(({ level }) => level === 'failure')) return 2
  return findings.some(({ level }) => level === 'warning') ? 1 : 0
}

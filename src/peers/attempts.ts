/**
 * Pure: which dialects to try with a maker, judged by its announcement's format, and in which order. Today's comes
 * first everywhere: a maker outlives its release, and what the older ones don't understand they merely close on.
 * Source: docs/makers.md, "Which dialect".
 */
import type { AnnouncementFormat } from '../bonds/types.ts'
import { DIALECT, type Dialect } from './dialects.ts'
import type { DialectName } from './types.ts'

export interface Attempt {
  dialect: Dialect
  because: string
}

export interface AttemptOptions {
  /** What this maker answered last; it goes first. */
  lastAnswered?: DialectName
  /** A pinged maker of 0.1.3 takes its onion service down and up again: at most every 6 hours. */
  mayPing: boolean
}

const TODAY: Attempt = { dialect: DIALECT.unified, because: 'makers of 0.2.1 and later speak nothing else' }

const BY_FORMAT: { readonly [F in AnnouncementFormat]: readonly Attempt[] } = {
  /** June to December 2025; some of these bonds were still locked when 0.2.1 came. */
  A: [
    TODAY,
    { dialect: DIALECT['legacy-prefixed'], because: 'makers of 0.1.2 and 0.1.3 announce in format A' },
    {
      dialect: DIALECT['taproot-prefixed'],
      because: 'those of 0.1.3 are of two kinds, which only trying tells apart',
    },
    { dialect: DIALECT.legacy, because: 'the prefix went in November 2025, format A in the last days of that year' },
    { dialect: DIALECT.taproot, because: 'the same makers are of two kinds' },
  ],
  /** December 2025 to April 2026. */
  B: [
    TODAY,
    { dialect: DIALECT.legacy, because: 'makers of 0.2.0 announce in format B and know no prefix' },
    { dialect: DIALECT.taproot, because: 'those of 0.2.0 are of two kinds, which only trying tells apart' },
  ],
  /** Since April 2026: the unified protocol, of March, is older than these formats. */
  C: [TODAY],
  D: [TODAY],
}

const PINGS: readonly Attempt[] = [
  { dialect: DIALECT.ping, because: 'the last resort with makers of 0.1.3' },
  { dialect: DIALECT['ping-unit'], because: 'the last resort with makers of 0.1.2 that were built for trackers' },
]

/** The attempts in their order, one fresh connection each, until one is answered. */
export function attemptsFor(format: AnnouncementFormat, { lastAnswered, mayPing }: AttemptOptions): readonly Attempt[] {
  const attempts = format === 'A' && mayPing ? [...BY_FORMAT.A, ...PINGS] : BY_FORMAT[format]
  const first = attempts.find(({ dialect }) => dialect.name === lastAnswered)
  if (!first) return attempts
  const remembered = { dialect: first.dialect, because: 'it answered this last' }
  return [remembered, ...attempts.filter((attempt) => attempt !== first)]
}

/** Runs `doctor` as an operator would, and follows its advice as far as that is a command. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Finding } from '../../src/doctor/finding.ts'
import type { Regtest } from '../sandbox/regtest.ts'
import { MAIN } from '../sandbox/tracker.ts'

/** Root without the privilege to go past permissions: an ordinary user, whoever runs the tests. */
export const UNPRIVILEGED = ['setpriv', '--bounding-set=-dac_override,-dac_read_search,-fowner']

export interface Diagnosis {
  code: number
  findings: readonly Finding[]
  of(check: string): Finding
}

/** `before`: a command in front of ours, for example UNPRIVILEGED. */
export async function doctor(
  args: readonly string[],
  { before = [], env = {} }: { before?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
): Promise<Diagnosis> {
  const [program, ...rest] = [
    ...before,
    process.execPath,
    MAIN,
    'doctor',
    '--json',
    '--http',
    'off',
    '--nostr',
    'off',
    ...args,
  ]
  const child = spawn(program!, rest, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } })
  let stdout = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  const [code] = await once(child, 'close')
  const findings = JSON.parse(stdout) as Finding[]
  return {
    code,
    findings,
    of(check) {
      const found = findings.find((finding) => finding.check === check)
      assert.ok(found, `no finding on ${check}: ${stdout}`)
      return found
    },
  }
}

/** Who isn't root is unprivileged already. */
export function unprivileged(): readonly string[] {
  return process.getuid?.() === 0 ? UNPRIVILEGED : []
}

export function nodeFlags(node: Regtest): string[] {
  return ['--network', 'regtest', '--rpc', `127.0.0.1:${node.rpcPort}`, '--cookie-file', node.cookieFile]
}

/** Checks the level and the words, and that what is not well comes with advice. Returns the advice. */
export function assertFinding({ level, text, fix }: Finding, expected: Finding['level'], words: RegExp): string {
  assert.equal(level, expected, `${text} → ${fix}`)
  assert.match(text, words)
  assert.equal(fix === undefined, level === 'ok', text)
  return fix ?? ''
}

/** Types the advice into a shell (as root where it says sudo, if we are; else as we are). */
export function follow(fix: string): void {
  execFileSync('sh', ['-ec', fix.replaceAll('sudo ', '')])
}

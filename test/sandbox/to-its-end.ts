/** A program that is run to its end, with all it printed. One that doesn't end is the caller's to end. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Ended {
  /** -1: a signal ended it. */
  code: number
  stdout: string
  stderr: string
}

/** Reads nothing from standard input. `env`: beside our own environment. */
export async function toItsEnd(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const [program, ...args] = command
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const [code] = await once(child, 'close')
  return { code: code ?? -1, stdout, stderr }
}

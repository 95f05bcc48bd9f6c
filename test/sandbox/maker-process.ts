/** Simulated makers in a process of their own, as a test or the demo starts and ends them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { MakerSettings } from './maker.ts'

const SCRIPT = new URL('./maker.ts', import.meta.url).pathname

export interface MakerProcess extends AsyncDisposable {
  /** Ends it as a crash would. */
  kill(): Promise<void>
}

/** Resolves once all of them are reachable: their descriptors uploaded, their ports listened on. */
export async function startMakers(makers: readonly MakerSettings[]): Promise<MakerProcess> {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify(makers)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  const [line] = await Promise.race([once(child.stdout, 'data'), ended.then(() => [undefined])])
  if (line === undefined) throw new Error(`the process of ${makers.map(({ name }) => name).join(', ')} did not start`)
  return { kill, [Symbol.asyncDispose]: kill }
}

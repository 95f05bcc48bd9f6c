/** An onion service that torrc has: Tor keeps it, and we read its name. */
import { readFile } from 'node:fs/promises'
import { ConfigError, describeError } from '../errors.ts'
import { sleep } from '../world.ts'
import { formatHostPort, isOnionHost } from './address.ts'
import type { OnionDeps } from './onion.ts'

const LIMITS = {
  /** How often the hostname file is read again: Tor may come later, or with another key. */
  pollMs: 5_000,
}

/** Runs until the signal. Throws ConfigError for a file that is no hostname file, or that we may not read. */
export async function runTorrcOnion(
  { hostnameFile, virtualPort }: { hostnameFile: string; virtualPort: number },
  deps: OnionDeps,
  signal: AbortSignal,
): Promise<void> {
  let last: string | undefined | null = null // not looked yet
  for (;;) {
    const found = await readHostname(hostnameFile)
    if (found !== last) {
      if (found === undefined) {
        const detail = `--onion-hostname-file ${hostnameFile} is not there yet: is the HiddenServiceDir in torrc, and Tor running?`
        deps.log.warn({ detail }, 'onion service down')
        deps.report({ kind: 'unreachable', detail })
      } else {
        deps.log.info(
          { onionAddress: formatHostPort({ host: found, port: virtualPort }) },
          'onion service managed by torrc',
        )
        deps.report({ kind: 'published', onionHost: found, detail: 'managed by torrc: Tor publishes it' })
      }
    }
    last = found
    await sleep(LIMITS.pollMs, signal)
  }
}

/** Undefined where it is not there. Throws ConfigError as `runTorrcOnion` does. */
export async function readHostname(file: string): Promise<string | undefined> {
  let text: string
  try {
    text = (await readFile(file, 'utf8')).trim()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return undefined
    throw new ConfigError(
      `--onion-hostname-file ${file} can't be read (${describeError(error)}): give this user read access to it and its folder`,
    )
  }
  if (!isOnionHost(text)) {
    throw new ConfigError(
      `--onion-hostname-file ${file} holds no v3 onion host name: name Tor's own hostname file, or a copy of it`,
    )
  }
  return text
}

/** This machine, as far as the daemon needs it: Node, open files, the port, the clock. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Network } from '../chain/types.ts'
import { span } from '../format.ts'
import { formatHostPort, type HostPort } from '../tor/address.ts'
import { broken, type Finding, well, worth } from './finding.ts'

const LIMITS = {
  /** Besides connections of takers: database, bitcoind, Tor, probes. */
  filesBesides: 128,
  /** At ten minutes a block no tip gets as old as this by chance. */
  tipAgeSMax: 6 * 3600,
  /** Consensus: a block's time may be this far ahead of the clock of who checks it. */
  aheadSMax: 2 * 3600,
  /** The port is this machine's: it answers at once, or nobody is there. */
  connectMs: 2_000,
}

const NODE_RECOMMENDED = 24

/** The oldest that works at all is checked by main.ts, before anything is loaded. */
export function nodeFinding(version: string): Finding {
  const major = Number(version.split('.')[0])
  if (major >= NODE_RECOMMENDED) return well('node', `Node ${version}`)
  return worth(
    'node',
    `Node ${version} works, but ${NODE_RECOMMENDED} LTS is what this program is tested with`,
    `install Node ${NODE_RECOMMENDED} (https://nodejs.org/en/download), then start the daemon with it`,
  )
}

/** `pid`: the running daemon's, else our own. `doors`: each of which takes `connectionsMax`. */
export function fileLimitFinding(pid: number | 'self', connectionsMax: number, doors: number): Finding {
  const needed = doors * connectionsMax + LIMITS.filesBesides
  let limit: number | undefined
  try {
    const line = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))
    limit = line?.[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line?.[1])
  } catch {
    limit = undefined // not Linux, or another user's daemon
  }
  if (limit === undefined || Number.isNaN(limit)) return well('open-files', 'the limit of open files is not shown here')
  if (limit >= needed) return well('open-files', `up to ${limit} open files, ${needed} are needed`)
  return worth(
    'open-files',
    `only ${limit} open files, but ${connectionsMax} connections (--connections-max)${doors > 1 ? ', and as many to --nostr,' : ''} need ${needed}`,
    `LimitNOFILE=${needed} in the unit (systemctl edit fidelity-tracker), or ulimit -n ${needed} before start, or a lower --connections-max${doors > 1 ? ', or --nostr off' : ''}`,
  )
}

/** Whether the daemon, which isn't running, could listen where `flag` says. */
export async function portFinding(check: string, flag: string, listen: HostPort): Promise<Finding> {
  const where = formatHostPort(listen)
  const server = createServer()
  try {
    server.listen(listen.port, listen.host)
    await once(server, 'listening')
    return well(check, `${where} is free to listen on`)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    if (code === 'EADDRINUSE') {
      return broken(
        check,
        `another program listens on ${where} (${flag})`,
        `ss -ltnp 'sport = :${listen.port}' names it: stop it, or give ${flag} another port`,
      )
    }
    if (code === 'EACCES') {
      return broken(check, `${where} may not be listened on by this user`, `give ${flag} a port above 1023`)
    }
    return broken(check, `${where} can't be listened on (${code})`, `give ${flag} an address of this machine`)
  } finally {
    server.close()
  }
}

/** While the daemon runs: somebody has to accept connections there, or the daemon has other settings than we. */
export async function takenPortFinding(check: string, flag: string, listen: HostPort): Promise<Finding> {
  const where = formatHostPort(listen)
  const socket = connect(listen.port, listen.host)
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(LIMITS.connectMs) })
    return well(check, `${where} accepts connections, as the daemon is running`)
  } catch {
    return worth(
      check,
      `nothing accepts connections at ${where} (${flag}): the running daemon has other settings`,
      'give doctor the same --config, environment or flags as the daemon',
    )
  } finally {
    socket.destroy()
  }
}

/**
 * Our clock against the chain's: a block's median time lies about an hour back, and never ahead; on regtest, where blocks
 * are made at will, it may be as far ahead as a block may be.
 */
export function clockFinding(nowS: number, medianTimeS: number, tipTimeS: number, network: Network): Finding {
  const behindS = medianTimeS - nowS
  if (behindS > (network === 'regtest' ? LIMITS.aheadSMax : 0)) {
    return broken(
      'clock',
      `this machine's clock is behind the chain's median time by ${span(behindS)}`,
      'sudo timedatectl set-ntp true (and see timedatectl timesync-status)',
    )
  }
  const ageS = nowS - tipTimeS
  if (network !== 'regtest' && ageS > LIMITS.tipAgeSMax) {
    return worth(
      'clock',
      `bitcoind's newest block is ${span(ageS)} old: this clock is ahead, or bitcoind hears of no blocks`,
      'compare timedatectl with another clock, and bitcoin-cli -getinfo for connections',
    )
  }
  return well('clock', "the clock agrees with the chain's")
}

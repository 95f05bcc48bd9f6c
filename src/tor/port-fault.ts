/** Why a port of Tor's could not be connected to, in words that say what to do: of a Unix socket the system says little. */
import { statSync } from 'node:fs'
import { describeError } from '../errors.ts'
import { isUnixSocket, type TorPort } from './address.ts'

export function describeConnectFault(port: TorPort, error: unknown): string {
  const text = describeError(error)
  if (!isUnixSocket(port)) return text
  const code = /\bconnect (E[A-Z]+)\b/.exec(text)?.[1] // socks-proxy-agent hands on no more than the text
  const { path } = port
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `there is no ${path}: torrc has to name it`
    case 'EACCES':
    case 'EPERM':
      return `this user may not use ${path}: add it to Tor's group (sudo usermod -aG debian-tor <user>, then log in anew), with GroupWritable behind the path in torrc`
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return isSocket(path) ? `nobody listens at ${path}, which a Tor before has left behind` : `${path} is no socket`
    default:
      return text
  }
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket()
  } catch {
    return false // gone meanwhile, or not for us to see
  }
}

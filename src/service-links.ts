/**
 * The variables by which Kubernetes tells a container of the Services in its namespace. For one named `fidelity-tracker`,
 * or `fidelity-tracker-<more>`, they begin as our settings do. Source: Kubernetes, "Discovering services"; kubelet,
 * `envvars.FromServices`.
 */
import { isIP } from 'node:net'

const isAddress = (value: string) => isIP(value) !== 0
const isPort = (value: string) => /^[1-9]\d{0,4}$/.test(value) && Number(value) <= 65_535
const isProtocol = (value: string) => ['tcp', 'udp', 'sctp'].includes(value)

/** `tcp://10.0.48.109:8080`; an IPv6 address stands in brackets. */
function isServiceUrl(value: string): boolean {
  const [, protocol = '', host = '', port = ''] = /^([a-z]+):\/\/(.+):(\d+)$/.exec(value) ?? []
  return isProtocol(protocol) && isAddress(host.replace(/^\[(.*)\]$/, '$1')) && isPort(port)
}

/** By the end of the name, and what the value then is. */
const SHAPES: readonly (readonly [RegExp, (value: string) => boolean])[] = [
  [/^[A-Z0-9_]+_SERVICE_HOST$/, isAddress],
  [/^[A-Z0-9_]+_SERVICE_PORT(_[A-Z0-9_]+)?$/, isPort],
  [/^[A-Z0-9_]+_PORT(_\d+_(TCP|UDP|SCTP))?$/, isServiceUrl],
  [/^[A-Z0-9_]+_PORT_\d+_(TCP|UDP|SCTP)_PROTO$/, isProtocol],
  [/^[A-Z0-9_]+_PORT_\d+_(TCP|UDP|SCTP)_PORT$/, isPort],
  [/^[A-Z0-9_]+_PORT_\d+_(TCP|UDP|SCTP)_ADDR$/, isAddress],
]

/** Of whatever Service. */
export function isServiceLink(variable: string, value: string): boolean {
  return SHAPES.some(([shape, isValue]) => shape.test(variable) && isValue(value))
}

/** The lines an operator adds to torrc; also the text of torrc.example. */
import { formatHostPort, type HostPort } from './address.ts'

export interface TorrcOptions {
  socks: HostPort
  control: HostPort
  virtualPort: number
  target: HostPort
  /** Tor manages the service itself: no control port. */
  managed: boolean
}

export const TORRC_DEFAULTS: TorrcOptions = {
  socks: { host: '127.0.0.1', port: 9050 },
  control: { host: '127.0.0.1', port: 9051 },
  virtualPort: 8080,
  target: { host: '127.0.0.1', port: 8080 },
  managed: false,
}

export function torrcFor({ socks, control, virtualPort, target, managed }: TorrcOptions): string {
  const lines = [
    '# Lines for torrc (on Debian: /etc/tor/torrc), then: systemctl reload tor',
    '',
    '# The proxy fidelity-tracker dials out through; streams with other credentials get other circuits.',
    `SocksPort ${formatHostPort(socks)} IsolateSOCKSAuth`,
    '',
  ]
  if (managed) {
    lines.push(
      '# The onion service, kept by Tor. Start fidelity-tracker with',
      '# --onion-hostname-file /var/lib/tor/fidelity-tracker/hostname, readable for its user.',
      'HiddenServiceDir /var/lib/tor/fidelity-tracker/',
      `HiddenServicePort ${virtualPort} ${formatHostPort(target)}`,
      '# Proof-of-work defence against floods. Remove the line if this Tor does not know it (before 0.4.8).',
      'HiddenServicePoWDefensesEnabled 1',
    )
  } else {
    lines.push(
      '# The control port, through which fidelity-tracker publishes its onion service. The key stays in its data',
      "# directory. Its user must be in Tor's group (on Debian: adduser <user> debian-tor).",
      `ControlPort ${formatHostPort(control)}`,
      'CookieAuthentication 1',
      'CookieAuthFileGroupReadable 1',
      '',
      '# Without a control port instead: let Tor keep the service, and start fidelity-tracker with',
      '# --onion-hostname-file /var/lib/tor/fidelity-tracker/hostname.',
      '#HiddenServiceDir /var/lib/tor/fidelity-tracker/',
      `#HiddenServicePort ${virtualPort} ${formatHostPort(target)}`,
      '#HiddenServicePoWDefensesEnabled 1',
    )
  }
  return `${lines.join('\n')}\n`
}

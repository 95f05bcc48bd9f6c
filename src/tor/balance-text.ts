/**
 * What an operator types to have one onion address spread over several trackers by Onionbalance: the text of
 * `print-torrc --onionbalance`, a shell script in three parts for the balancer's machine and each tracker's. Pure.
 * Sources: Debian's onionbalance package (user, unit, /etc/onionbalance), tor(1), rend-spec-v3 §6 (the name of a key).
 */
import { formatTorPort, isUnixSocket } from './address.ts'
import { type BackEndService, backEndLines, FRONT_FILE } from './back-end.ts'
import { type TorrcOptions, torPortLines } from './torrc.ts'

export interface BalanceOptions extends Pick<TorrcOptions, 'socks' | 'control'> {
  /** Undefined where the balancer's key is to be made first. */
  publicOnion: string | undefined
  service: BackEndService
}

/** Where Debian's package looks for it. */
const FOLDER = '/etc/onionbalance'
/** Stands where the operator has to put a name; no shell takes it for one of its own words. */
const PUBLIC = 'PUBLIC.onion'

export function balanceSetup({ publicOnion, service, socks, control }: BalanceOptions): string {
  const front = publicOnion ?? PUBLIC
  const { dir } = service
  const key = `${FOLDER}/front.key`
  const ports = `--socks-port ${formatTorPort(socks)} --control-port ${formatTorPort(control)}`
  const lines = [
    '# One onion address, spread over several trackers by Onionbalance. docs/scaling.md says when that is worth it.',
    '',
    '# 1. On the machine of the balancer, once: its key, and the address that clients are to know.',
    ...(publicOnion === undefined
      ? ['# Then: fidelity-tracker print-torrc --onionbalance --public-onion <that address>, for the rest.']
      : []),
    'sudo apt install onionbalance tor openssl',
    `sudo openssl genpkey -algorithm ed25519 -out ${key}`,
    `sudo chown onionbalance ${key}`,
    "sudo sh -c '",
    `  public() { openssl pkey -in ${key} -pubout -outform DER | tail -c 32; }`,
    '  sum() { { printf ".onion checksum"; public; printf "\\003"; } | openssl dgst -sha3-256 -binary | head -c 2; }',
    '  { public; sum; printf "\\003"; } | base32 -w 0 | tr A-Z a-z; echo .onion',
    "'",
    '',
    '# 2. On the machine of each tracker. Its Tor is to have no other onion service: the tracker replaces them.',
    `sudo install -d -m 750 -o debian-tor -g debian-tor ${dir}`,
    `echo MasterOnionAddress ${front} | sudo tee ${dir}/${FRONT_FILE}`,
    "sudo tee -a /etc/tor/torrc <<'END'",
    ...torPortLines({ socks, control }),
    "# Its group, which the tracker's user is in (adduser <user> debian-tor), may read the name of the service.",
    'DataDirectoryGroupReadable 1',
    'END',
    'sudo systemctl restart tor',
    `fidelity-tracker start --public-onion ${front} --onion-hostname-file ${dir}/hostname ${ports}`,
    '# No line of the service stands in torrc. The tracker gives them to Tor while it is ready, and takes them back when not:',
    ...backEndLines(service).map(([name, value]) => `#   ${name} ${value}`),
    '# Its own name, once it was ready for the first time:',
    `sudo cat ${dir}/hostname`,
    '',
    '# 3. On the machine of the balancer: the own names of all trackers, and again whenever one is added or removed.',
    `sudo tee ${FOLDER}/config.yaml <<'END'`,
    'services:',
    '- key: front.key',
    '  instances:',
    '  - address: NAME-OF-THE-FIRST.onion',
    '    name: first',
    '  - address: NAME-OF-THE-SECOND.onion',
    '    name: second',
    'END',
    'sudo systemctl restart onionbalance',
    `# Its torrc needs a control socket or port with a cookie. Debian's Tor has one, else${isUnixSocket(control) ? '' : ' (and -i, -p of onionbalance for a port)'}:`,
    '#   ControlSocket /run/tor/control GroupWritable RelaxDirModeCheck',
    '#   CookieAuthentication 1',
    '#   CookieAuthFileGroupReadable 1',
  ]
  return `${lines.join('\n')}\n`
}

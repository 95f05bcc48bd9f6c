/**
 * What to type about what was met, by the words it was met with: for doctor, who looks for himself, and for a running
 * daemon, whose loops have met it already. Asks nobody, and reads no file.
 */
import { ONION_KEY_FILE } from '../tor/key.ts'
import type { StatusRow } from '../views/schemas/status.ts'
import { broken, type Finding, well, worth } from './finding.ts'

/** Disk of the window's blocks and their undo data on main, in MiB; the others are smaller. */
const PRUNE_MIB = 60_000

export const RESTART_BITCOIND = 'then: sudo systemctl restart bitcoind'
export const RELOAD_TOR = 'then: sudo systemctl reload tor'
const ADD_TOR_LINES = `fidelity-tracker print-torrc | sudo tee -a /etc/tor/torrc; ${RELOAD_TOR}`

// ---- bitcoind --------------------------------------------------------------------------------------------------------

/** `--rpc` leads to nobody. `orElse`: where another one was seen. */
export function startBitcoind(orElse = ', or give --rpc <host:port> of the running one'): string {
  return `sudo systemctl start bitcoind${orElse}`
}

/** Whether the system's own words say that nobody is there to answer. */
export const isNobodyThere = (text: string) => /\bE(CONNREFUSED|HOSTUNREACH|NETUNREACH|NOTFOUND|NOENT)\b/.test(text)

/** bitcoind answered `text`, or could not be asked. `cookieFile`: by which it was asked, if by one. */
export function bitcoindFix(text: string, cookieFile = ''): string {
  if (isNobodyThere(text) || /^no cookie at/.test(text)) return startBitcoind()
  if (/is starting/.test(text)) return 'wait: bitcoin-cli -rpcwait getblockcount returns when it has started'
  if (/refuses user and password/.test(text)) {
    return 'correct FIDELITY_TRACKER_AUTH=user:password (rpcuser, rpcpassword or rpcauth in bitcoin.conf), or remove it to use the cookie'
  }
  if (/refuses the cookie/.test(text)) {
    return `give --cookie-file of the bitcoind at --rpc; ${cookieFile} is of another one`
  }
  return "see bitcoind's debug.log; is --rpc really a bitcoind?"
}

export const WAIT_FOR_DOWNLOAD =
  'wait: bitcoin-cli getblockchaininfo shows the progress; the scan starts by itself when it is done'
export const LOOK_AT_PEERS = 'if that lasts: bitcoin-cli getpeerinfo and getchaintips, and its debug.log'
export const READ_PRUNED_AGAIN = `prune=${PRUNE_MIB} (or prune=0) in bitcoin.conf, and start bitcoind once with -reindex, which downloads them again; or --serve-partial`
export const LOOK_AT_BLOCK =
  'wait, if bitcoind still downloads: bitcoin-cli getblockchaininfo shows it; else its debug.log says why it can not give the block, and starting it once with -reindex mends damaged files'

// ---- Tor -------------------------------------------------------------------------------------------------------------

/** The control port said `text`, or could not be asked. `user`: who asked; `isRefused`: it does not let us in. */
export function torControlFix(
  text: string,
  user: string,
  isRefused: boolean,
): Required<Pick<Finding, 'check' | 'fix'>> {
  const auth = (fix: string) => ({ check: 'tor-auth', fix })
  if (/is not there/.test(text)) {
    return {
      check: 'tor-control',
      fix: 'if Tor runs in another container or on another host: share its cookie file, and --tor-cookie-file <file>; or, where torrc has HashedControlPassword, FIDELITY_TRACKER_TOR_AUTH_PASSWORD=<password>; if it runs here: sudo systemctl status tor',
    }
  }
  if (/no answer to|(does not know|refuses) its cookie/.test(text)) {
    return { check: 'tor-control', fix: 'sudo systemctl restart tor' }
  }
  if (/lets in everybody, and belongs to/.test(text)) {
    return auth(
      `sudo ss -ltnp; if it is your Tor: CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, ${RELOAD_TOR}`,
    )
  }
  if (/wants its cookie/.test(text)) {
    return auth(
      `sudo usermod -aG debian-tor ${user}, and log in anew (a service: restart it); CookieAuthFileGroupReadable 1 in torrc, ${RELOAD_TOR}`,
    )
  }
  if (/refuses the password/.test(text)) {
    return auth(
      'correct FIDELITY_TRACKER_TOR_AUTH_PASSWORD, or remove it and use the cookie: CookieAuthentication 1 in torrc',
    )
  }
  if (isRefused) {
    return auth(
      `CookieAuthentication 1 and CookieAuthFileGroupReadable 1 in torrc, ${RELOAD_TOR}; or FIDELITY_TRACKER_TOR_AUTH_PASSWORD=<password>`,
    )
  }
  return {
    check: 'tor-control',
    fix: `sudo systemctl start tor; if it has no control port: ${ADD_TOR_LINES}`,
  }
}

/** What the running daemon says of its onion service; `ownAddress`: as files have it, where they do. */
export function onionFinding(
  status: Pick<StatusRow, 'onion' | 'checks'> | undefined,
  ownAddress: string | undefined,
): Finding {
  const itsAddress = ownAddress === undefined ? '' : `; its address is ${ownAddress}`
  if (!status)
    return worth(
      'onion',
      `the daemon is not running${itsAddress}`,
      'sudo systemctl start fidelity-tracker, or fidelity-tracker start',
    )
  const { state, detail, address, canary } = status.onion
  if (state === 'published') {
    if (canary?.state === 'red') {
      const fix = 'sudo journalctl -u tor@default -n 50; a service that was just published takes a minute to be found'
      return broken('onion', `published, but not reached through Tor (canary): ${canary.detail}`, fix)
    }
    if (canary?.state === 'impostor') {
      const fix = `stop the other tracker that has a copy of ${ONION_KEY_FILE}; is none yours, this address is lost to whoever has the key: docs/troubleshooting.md, FidelityTrackerUnreachable`
      return broken('onion', canary.detail, fix)
    }
    if (canary?.state === 'untried')
      return worth('onion', `${address}: ${canary.detail}`, 'wait a minute, and look again')
    return well('onion', `published: ${address}${canary ? ', reached through Tor by our own canary' : ''}`)
  }
  if (state === 'standby') return standbyFinding(status, detail)
  if (state === 'publishing') return worth('onion', `${address}: ${detail}`, 'wait: an upload takes up to a minute')
  if (state === 'withdrawn')
    return worth('onion', `${address}: ${detail}`, 'what it waits for is said here and in status')
  if (state === 'disabled') {
    return broken('onion', `the running daemon has no onion service (${detail})`, 'start it without --no-tor')
  }
  const text = `the daemon's onion service is ${state}: ${detail}${itsAddress}`
  return broken('onion', text, 'see the lines about Tor above')
}

/** Of several trackers with one address it is another's turn, or nobody's. */
function standbyFinding({ checks }: Pick<StatusRow, 'checks'>, detail: string): Finding {
  if (checks.onion.ok) return well('onion', `stands by for the address that it shares: ${detail}`)
  return worth(
    'onion',
    `stands by for the address that it shares, and does not know of a holder: ${detail}`,
    'fidelity-tracker status at each tracker; one of them has to be ready, and to reach the shared store',
  )
}

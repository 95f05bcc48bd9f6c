/** The upper half of the page: one sentence, key figures, and the three cards. */
import { byId, copy, setHidden, setText } from './dom.js'
import { ago, btc, days, median, number, plural, roughly } from './words.js'

export function showStatus({ status, makers, bonds, link, refusal, atMs }) {
  showLink(link, refusal, atMs)
  if (link === 'offline') {
    const last = status?.height == null ? '' : ` It was last seen at block ${number(status.height)}.`
    setText(byId('headline'), 'The tracker does not answer')
    setText(byId('lede'), `Is the daemon running?${last}`)
  }
  if (!status && refusal) {
    setText(byId('headline'), 'The tracker could not answer')
    setText(byId('lede'), 'This page asks again by itself.')
  }
  if (link === 'offline' || !status) return
  document.title = status.height === null ? 'Fidelity tracker' : `${number(status.height)} · Fidelity tracker`
  const network = byId('network')
  setText(network, status.network === 'main' ? 'mainnet' : status.network)
  setHidden(network, false)
  showHeadline(status, makers)
  showProgress(status)
  showFigures(status, makers, bonds)
  showChain(status)
  showTor(status)
  showOnion(status)
  setText(byId('digest'), status.synced ? (status.digest ?? '–') : '–')
  setText(byId('version'), `fidelity-tracker ${status.version}, up for ${roughly(status.uptime_s)}`)
}

const LINKS = { connecting: 'Connecting', live: 'Live', polling: 'Updated now and then', offline: 'No connection' }

function showLink(link, refusal, atMs) {
  byId('live').dataset.live = link
  setText(byId('live-text'), LINKS[link])
  const banner = byId('banner')
  const hasFailed = refusal && refusal.code !== 'not_synced'
  if (link === 'offline') {
    const since = atMs ? ` What stands here is from ${new Date(atMs).toLocaleTimeString('en-GB')}.` : ''
    setText(banner, `No connection to the tracker.${since} Trying again.`)
  } else if (hasFailed) setText(banner, `The tracker could not answer: ${refusal.message}`)
  setHidden(banner, link !== 'offline' && !hasFailed)
}

function showHeadline(status, makers) {
  const [headline, lede] = sentence(status, makers)
  setText(byId('headline'), headline)
  setText(byId('lede'), lede)
}

/** What is well only the tracker's own readiness says; else the first thing that is in the way. */
function sentence(status, makers) {
  const { bitcoind, onion, progress, ready, not_ready: reasons } = status
  const block = status.height === null ? '' : `Block ${number(status.height)}, ${ago(status.block_time, status.time)}.`
  if (ready) return ['In step with the chain', `${block}${market(status, makers)}`]
  if (bitcoind.state === 'connecting') return ['Looking for bitcoind', bitcoind.detail]
  if (bitcoind.state === 'initial-download') return ['bitcoind is still downloading the chain', bitcoind.detail]
  if (bitcoind.state === 'waiting-for-block') return ['bitcoind lacks the next block', capital(bitcoind.detail)]
  if (bitcoind.state === 'unreachable') {
    return ['bitcoind is not answering', `${status.synced ? `${block} ` : ''}${bitcoind.detail}`]
  }
  if (!status.synced && progress === null && status.unseen) {
    return ['The list would be partial', capital(status.checks.sync.detail)]
  }
  if (!status.synced) {
    const left = progress?.eta_s ? `, about ${roughly(progress.eta_s)} to go` : ''
    const at = progress ? `Block ${number(progress.at)} of ${number(progress.to)}${left}. ` : ''
    return ['Catching up with the chain', `${at}Lists are shown once they are whole.`]
  }
  const { canary } = onion
  const isPublished = onion.state === 'published' || onion.state === 'disabled'
  if (canary?.state === 'impostor') return ['Somebody else has our onion address', `${capital(canary.detail)}.`]
  if (!isPublished || (canary && canary.state !== 'green')) {
    // Seen red without having been green is no "yet": it was looked for, and was not there.
    const wasReached = canary?.last_green != null
    const isNew = !wasReached && (!isPublished || canary.state === 'untried')
    const last = wasReached ? ` Last reached ${ago(canary.last_green, status.time)}.` : ''
    const detail = isPublished ? canary.detail : onion.detail
    return [`Not ${isNew ? 'yet ' : ''}reachable through Tor`, `${block}${last} ${capital(detail)}.`]
  }
  return ['Not ready', `${block} ${capital(reasons[0] ?? 'the tracker does not say why')}.`]
}

function market({ makers_up: up }, makers) {
  if (!makers) return ''
  if (makers.total === 0) return ' Nobody has a live bond yet.'
  const all = plural(makers.total, 'maker')
  return up > 0 ? ` ${number(up)} of ${all} answer.` : ` ${all} can be found here.`
}

function showProgress({ synced, progress }) {
  const place = byId('progress')
  setHidden(place, synced || !progress)
  if (!progress) return
  const percent = (100 * (progress.at - progress.from + 1)) / Math.max(1, progress.to - progress.from + 1)
  place.setAttribute('aria-valuenow', percent.toFixed(1))
  byId('progress-bar').style.width = `${percent}%`
}

function showFigures(status, makers, bonds) {
  const rows = makers?.makers
  figure('makers', rows && number(makers.total))
  figure('bonds', rows && number(status.bonds))
  figure('locked', rows && btc(rows.reduce((sum, { total_amount: amount }) => sum + amount, 0)), 'BTC')
  const left = bonds && median(bonds.map(({ blocks_left }) => blocks_left))
  figure('left', left === undefined ? undefined : number(days(left)), 'days')
}

function figure(name, value, unit = '') {
  const place = byId(`figure-${name}`)
  const text = value === undefined ? '–' : value
  if (place.dataset.shown === text + unit) return
  place.dataset.shown = text + unit
  place.replaceChildren(text)
  if (value === undefined || !unit) return
  const small = document.createElement('small')
  small.textContent = ` ${unit}`
  place.append(small)
}

function card(name, tone, verdict) {
  const place = byId(`card-${name}`)
  place.dataset.tone = tone
  setText(place.querySelector('.verdict'), verdict)
}

function showChain({ bitcoind, synced, height, mempool, unseen, reorgs }) {
  if (bitcoind.state === 'unreachable') card('chain', 'bad', 'No answer')
  else if (bitcoind.state === 'connecting') card('chain', 'idle', 'Connecting')
  else if (bitcoind.state === 'waiting-for-block') card('chain', 'warn', 'Waiting for a block')
  else if (synced) card('chain', unseen || bitcoind.warnings.length > 0 ? 'warn' : 'good', 'Following')
  else card('chain', 'warn', unseen && bitcoind.best_height === height ? 'Blocks are missing' : 'Catching up')
  setText(byId('height'), height === null ? '–' : `Block ${number(height)}`)
  const notes = []
  if (bitcoind.best_height !== null && bitcoind.best_height !== height) {
    notes.push(`bitcoind is at ${number(bitcoind.best_height)}`)
  }
  if (mempool.complete) notes.push(`${plural(mempool.transactions, 'transaction')} in the mempool`)
  if (reorgs > 0) notes.push(plural(reorgs, 'reorg'))
  if (unseen)
    notes.push(`blocks ${number(unseen.from)} to ${number(unseen.to)} were never read: bonds there are unknown`)
  notes.push(...bitcoind.warnings)
  setText(byId('chain-note'), bitcoind.state === 'unreachable' ? bitcoind.detail : notes.join(' · '))
}

function showTor({ onion }) {
  const hasAnswered = onion.tor_version !== null
  if (onion.state === 'disabled') card('tor', 'idle', 'Off')
  else if (onion.state === 'unreachable') card('tor', 'bad', 'No answer')
  else if (onion.state === 'starting') card('tor', 'warn', 'Connecting')
  else card('tor', 'good', 'Connected')
  const versions = { disabled: 'Not used', unreachable: '–', starting: '–' }
  setText(byId('tor-version'), versions[onion.state] ?? (hasAnswered ? onion.tor_version : 'Kept by torrc'))
  const note = onion.state === 'disabled' ? 'Started with --no-tor' : onion.state === 'unreachable' ? onion.detail : ''
  setText(byId('tor-note'), note || (hasAnswered ? 'Control port answers' : 'Not asked'))
}

function showOnion({ onion, address, nostr, checks }) {
  const isOff = onion.state === 'disabled'
  setText(byId('onion-title'), isOff ? 'Address' : 'Onion service')
  if (isOff) card('onion', 'idle', 'Local only')
  else if (onion.canary?.state === 'impostor') card('onion', 'bad', 'Not ours alone')
  else if (onion.state === 'published' && onion.canary?.state === 'red') card('onion', 'bad', 'Not reached')
  else if (onion.state === 'published' && onion.canary?.state === 'green') card('onion', 'good', 'Reachable')
  else if (onion.state === 'published') card('onion', 'good', 'Published')
  else if (onion.state === 'standby') card('onion', checks.onion.ok ? 'good' : 'warn', 'Standing by')
  else card('onion', 'warn', onion.state === 'publishing' ? 'Publishing' : 'Not published')
  const shown = isOff ? address : onion.address
  setText(byId('address'), shown ?? 'Not known yet')
  const button = byId('copy-address')
  setHidden(button, !shown)
  button.onclick = () => copy(shown, button)
  const note = isOff ? 'Takers reach it on this machine only' : capital(noteOf(onion))
  const relay = nostr ? ` · Nostr relay ${nostr.url}, ${plural(nostr.events, 'bond')} announced` : ''
  setText(byId('onion-note'), `${note}${relay}`)
}

/** What our own visit through Tor has found says more than that a descriptor was uploaded. */
function noteOf({ state, detail, canary }) {
  return state === 'published' && canary ? canary.detail : detail
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

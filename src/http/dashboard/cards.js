/** The cards: bitcoind, Tor, the onion service, and what is shared with other trackers. What to do stands in the advice. */
import { byId, copy, setHidden, setText } from './dom.js'
import { ago, capital, isInDoubt, momentOf, number, plural } from './words.js'

export function showCards(status) {
  showChain(status)
  showTor(status)
  showOnion(status)
  showStore(status)
}

function card(name, tone, verdict) {
  const place = byId(`card-${name}`)
  place.dataset.tone = tone
  setText(place.querySelector('.verdict'), verdict)
}

function showChain(status) {
  const { bitcoind, synced, height, block_time: timeS, time, mempool, unseen, reorgs } = status
  if (bitcoind.state === 'unreachable') card('chain', 'bad', 'No answer')
  else if (bitcoind.state === 'connecting') card('chain', 'idle', 'Connecting')
  else if (bitcoind.state === 'waiting-for-block') card('chain', 'warn', 'Waiting for a block')
  else if (unseen && bitcoind.best_height === height) card('chain', 'warn', 'Blocks are missing')
  else if (!synced) card('chain', 'warn', 'Catching up')
  else if (isInDoubt(status)) card('chain', 'warn', 'In doubt')
  else card('chain', 'good', 'Following')
  setText(byId('height'), height === null ? '–' : `Block ${number(height)}`)
  const notes = []
  if (timeS !== null) notes.push(`of ${momentOf(timeS)}, ${ago(timeS, time)}`)
  if (bitcoind.best_height !== null && bitcoind.best_height !== height) {
    notes.push(`bitcoind is at ${number(bitcoind.best_height)}`)
  }
  if (mempool.complete) notes.push(`${plural(mempool.transactions, 'transaction')} in the mempool`)
  if (reorgs > 0) notes.push(`${plural(reorgs, 'reorg')} since the start`)
  notes.push(...bitcoind.warnings)
  setText(byId('chain-note'), capital(notes.join(' · ')))
}

function showTor({ onion }) {
  const hasAnswered = onion.tor_version !== null
  if (onion.state === 'disabled') card('tor', 'idle', 'Off')
  else if (onion.state === 'unreachable') card('tor', 'bad', 'No answer')
  else if (onion.state === 'starting') card('tor', 'warn', 'Connecting')
  else card('tor', 'good', 'Connected')
  const versions = { disabled: 'Not used', unreachable: '–', starting: '–' }
  setText(byId('tor-version'), versions[onion.state] ?? (hasAnswered ? `Tor ${onion.tor_version}` : 'Kept by torrc'))
  const notes = { disabled: 'Started with --no-tor', unreachable: 'The service comes back with it' }
  setText(byId('tor-note'), notes[onion.state] ?? (hasAnswered ? 'Its control port answers' : 'Not asked'))
}

function showOnion({ onion, address, nostr, checks, advice }) {
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
  const relay = nostr ? `Nostr relay ${nostr.url}, ${plural(nostr.events, 'bond')} announced` : ''
  const note = isOff ? 'Takers reach it on this machine only' : capital(noteOf(onion, advice))
  setText(byId('onion-note'), [note, relay].filter(Boolean).join(' · '))
}

/** What our own visit through Tor has found says more than that a descriptor was uploaded. Faults stand in the advice. */
function noteOf({ state, detail, canary }, advice) {
  if (state === 'unreachable') return 'waits for Tor'
  if (advice.some(({ check }) => check === 'onion')) return 'see what to do, above'
  return state === 'published' && canary ? canary.detail : detail
}

/** Only where one is set. */
function showStore({ checks: { shared_store: store }, advice }) {
  setHidden(byId('card-store'), !store)
  byId('cards').dataset.cards = store ? 'four' : 'three'
  if (!store) return
  const isAway = advice.some(({ check }) => check === 'shared_store')
  if (store.ok) card('store', 'good', 'Answers')
  else if (isAway) card('store', 'bad', 'No answer')
  else card('store', 'warn', 'Being read')
  const note = isAway ? 'Registrations are answered busy until it is back' : capital(store.detail)
  setText(byId('store-note'), note)
}

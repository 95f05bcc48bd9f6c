/**
 * Where in the page one is, kept in the address behind the `#` so that it can be shared and gone back to: how the table of
 * makers is searched, sorted and filtered, or which maker is looked at. A `#` without `=` is an ordinary link within the page.
 */

/** What may stand there, and what is so when it doesn't. */
const NOTHING = { q: '', sort: 'value', order: '', up: '', proven: '', today: '', format: '', maker: '' }

/** @typedef {typeof NOTHING} Place */

const LIMITS = {
  /** More is nobody's search: what one pastes is an address or an outpoint. */
  chars: 200,
}

const listeners = []
let place = read()
/** The table as it was left for a maker's page. */
let tableHash = place.maker ? '' : location.hash

/** @returns {Place} */
function read() {
  const said = new URLSearchParams(location.hash.slice(1))
  const entries = Object.entries(NOTHING).map(([key, none]) => [key, (said.get(key) ?? none).slice(0, LIMITS.chars)])
  return /** @type {Place} */ (Object.fromEntries(entries))
}

/** The hash of a place: only what is not as always. */
export function hashOf(place) {
  const said = Object.entries(NOTHING).flatMap(([key, none]) => {
    const value = place[key] ?? none
    return value === none ? [] : [`${key}=${encodeURIComponent(value).replaceAll('%3A', ':')}`]
  })
  return said.length > 0 ? `#${said.join('&')}` : '#makers'
}

export function here() {
  return place
}

/** The way back from a maker's page. */
export function hashOfTable() {
  return tableHash.includes('=') ? tableHash : '#makers'
}

/** A step that Back undoes; while somebody types (`isTyping`) all of it is one. */
export function go(change, { isTyping = false } = {}) {
  const hash = hashOf({ ...place, ...change })
  if (hash === location.hash || (hash === '#makers' && !location.hash.includes('='))) return
  if (isTyping && place.q) history.replaceState(null, '', hash)
  else history.pushState(null, '', hash)
  arrive()
}

/** `listener` is called with the place whenever it changes, and with the one before. */
export function onPlace(listener) {
  listeners.push(listener)
}

/** Both events tell of the same step. */
let arrivedAt = location.hash

function arrive() {
  if (location.hash === arrivedAt) return
  arrivedAt = location.hash
  const before = place
  place = read()
  if (!place.maker) tableHash = location.hash
  for (const listener of listeners) listener(place, before)
}

addEventListener('hashchange', arrive)
addEventListener('popstate', arrive)

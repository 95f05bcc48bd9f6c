/** Other trackers, and whether they tell takers the same. Nothing of it where none is known. */
import { byId, make, setHidden, setText } from './dom.js'
import { ago, number, plural } from './words.js'

export function showTrackers(trackers, { time }) {
  setHidden(byId('trackers'), !trackers?.length)
  if (!trackers?.length) return
  const agreeing = trackers.filter(({ agrees }) => agrees === true).length
  setText(
    byId('trackers-note'),
    `${number(agreeing)} of ${plural(trackers.length, 'tracker')} list the same bonds as this one`,
  )
  byId('trackers-list').replaceChildren(...trackers.map((tracker) => item(tracker, time)))
}

function item({ address, agrees, height, last_seen: seen }, time) {
  const [tone, verdict] =
    agrees === null ? ['idle', 'Not compared'] : agrees ? ['good', 'Agrees'] : ['bad', 'Disagrees']
  return make(
    'li',
    { 'data-tone': tone },
    make('span', { class: 'dot', 'aria-hidden': 'true' }),
    make('code', {}, address),
    make('span', { class: 'note' }, `${verdict} · ${lastSeen(height, seen, time)}`),
  )
}

function lastSeen(height, seen, now) {
  if (seen === null) return 'never reached'
  return height === null ? `reached ${ago(seen, now)}` : `at block ${number(height)}, ${ago(seen, now)}`
}

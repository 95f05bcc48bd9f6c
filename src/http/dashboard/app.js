/** The page: what is known, shown in its places, whenever it changes. */
import { byId, make, setHidden, setText, showEmpty } from './dom.js'
import { watchTracker } from './live.js'
import { MakerPage } from './maker.js'
import { MakersTable } from './makers.js'
import { Plots } from './plots.js'
import { showRelays } from './relays.js'
import { showStatus } from './status.js'
import { SybilPanel } from './sybil.js'
import { ago, number, plural, shortAddress } from './words.js'

// First: what it shows or hides is so when the table hears of another place.
const page = new MakerPage()
const table = new MakersTable()
const plots = new Plots()
const sybil = new SybilPanel()

watchTracker((known) => {
  document.body.dataset.state = stateOf(known)
  document.body.dataset.lists = known.makers?.total > 0 ? 'some' : 'none'
  showStatus(known)
  table.show(known)
  page.show(known)
  sybil.show(known)
  if (!known.status) return
  showTrackers(known.trackers, known.status)
  showRelays(known.relays?.relays, known.status)
  plots.show(known)
})

function lastSeen(height, seen, now) {
  if (seen === null) return 'never reached'
  return height === null ? ago(seen, now) : `block ${number(height)}, ${ago(seen, now)}`
}

/** In one word, for the styles and for tests. */
function stateOf({ link, status, makers, refusal }) {
  if (link === 'offline') return 'offline'
  if (refusal && refusal.code !== 'not_synced') return 'failed'
  if (!status) return 'loading'
  if (!makers) return 'syncing'
  return makers.total === 0 ? 'empty' : 'shown'
}

function showTrackers(trackers, { time }) {
  const list = byId('trackers-list')
  const empty = byId('trackers-empty')
  const agreeing = trackers?.filter(({ agrees }) => agrees === true).length ?? 0
  setText(
    byId('trackers-note'),
    trackers?.length ? `${number(agreeing)} of ${plural(trackers.length, 'tracker')} agree with this one` : '\u00a0',
  )
  list.replaceChildren(
    ...(trackers ?? []).map(({ address, agrees, height, last_seen: seen }) => {
      const [tone, verdict] =
        agrees === null ? ['idle', 'not compared'] : agrees ? ['good', 'agrees'] : ['bad', 'disagrees']
      return make(
        'li',
        { 'data-tone': tone },
        make('span', { class: 'dot', 'aria-hidden': 'true' }),
        make('code', { title: address }, ...shortAddress(address)),
        make('span', { class: 'note' }, `${verdict} · ${lastSeen(height, seen, time)}`),
      )
    }),
  )
  setHidden(list, !trackers?.length)
  setHidden(empty, Boolean(trackers?.length))
  if (!trackers?.length)
    showEmpty(empty, 'None known', 'Other trackers and whether they agree stand here once they are known.')
}

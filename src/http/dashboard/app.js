/** The page: what is known, shown in its places, whenever it changes. */
import { watchTracker } from './live.js'
import { MakerPage } from './maker.js'
import { MakersTable } from './makers.js'
import { Plots } from './plots.js'
import { showRelays } from './relays.js'
import { showStatus } from './status.js'
import { SybilPanel } from './sybil.js'
import { showTrackers } from './trackers.js'

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

/** In one word, for the styles and for tests. */
function stateOf({ link, status, makers, refusal }) {
  if (link === 'offline') return 'offline'
  if (refusal && refusal.code !== 'not_synced') return 'failed'
  if (!status) return 'loading'
  if (!makers) return 'syncing'
  return makers.total === 0 ? 'empty' : 'shown'
}

/**
 * The one sentence at the top. It says that all is well only where the tracker's own readiness says so and nothing of what
 * it names is in doubt; else the first thing that is in the way. Beside it: how many makers takers are told of.
 */
import { byId, make, setHidden, setText } from './dom.js'
import { ago, capital, isInDoubt, number, plural, roughly, shortAddress } from './words.js'

/** Makers that are down and named; the table has the others. */
const NAMED_MAX = 4

export function showHeadline(status, makers) {
  const [headline, lede] = sentence(status)
  setText(byId('headline'), headline)
  setText(byId('lede'), lede)
  showCount(status, makers)
}

const WHAT_IS_MISSING = 'Bonds that were confirmed in blocks which were never read are not known.'

function sentence(status) {
  const { bitcoind, onion, unseen, ready, not_ready: reasons, checks, advice } = status
  const block = status.height === null ? '' : `Block ${number(status.height)}, ${ago(status.block_time, status.time)}.`
  if (ready && unseen) return ['The list is partial', `${block} ${WHAT_IS_MISSING}`]
  if (ready && isInDoubt(status)) return ['bitcoind may be behind', block]
  if (ready) return ['In step with the chain', block]
  if (!checks.database.ok) return ['The database can’t be read', 'What stands here may be old.']
  if (bitcoind.state === 'connecting') return ['Looking for bitcoind', 'It was not reached yet since the start.']
  if (bitcoind.state === 'initial-download')
    return ['bitcoind is still downloading the chain', 'The scan begins when it is done.']
  if (bitcoind.state === 'waiting-for-block') return ['bitcoind lacks the next block', block]
  if (bitcoind.state === 'unreachable') {
    const lists = status.synced ? 'Lists are as of that block.' : 'No list is given until it is back.'
    return ['bitcoind is not answering', `${block} ${lists}`]
  }
  if (!status.synced && status.progress === null && unseen) return ['The list would be partial', WHAT_IS_MISSING]
  if (!status.synced) return ['Catching up with the chain', 'Lists are shown once they are whole.']
  if (checks.onion.ok && checks.tor.ok) return doubtful(block, checks, reasons)
  return unreached(block, status, onion, advice)
}

function doubtful(block, { shared_store: shared }, reasons) {
  if (shared && !shared.ok)
    return ['The shared store is not there', `${block} Registrations are answered busy until it is.`]
  return ['Not ready', `${block} ${capital(reasons[0] ?? 'the tracker does not say why')}.`]
}

/** Takers don't get to us. What was met is told once: by the advice, where there is some. */
function unreached(block, { time }, { state, detail, canary }, advice) {
  const isAdvised = advice.some(({ check }) => check === 'tor' || check === 'onion')
  if (canary?.state === 'impostor') {
    return ['Somebody else has our onion address', `${block}${isAdvised ? '' : ` ${capital(canary.detail)}.`}`]
  }
  const isPublished = state === 'published'
  // Seen red without having been green is no "yet": it was looked for, and was not there.
  const wasReached = canary?.last_green != null
  const isNew = !wasReached && (!isPublished || canary?.state === 'untried')
  const last = wasReached ? ` Last reached ${ago(canary.last_green, time)}.` : ''
  const why = isAdvised ? '' : ` ${capital(isPublished && canary ? canary.detail : detail)}.`
  return [`Not ${isNew ? 'yet ' : ''}reachable through Tor`, `${block}${last}${why}`]
}

/** As `Get` answers: every maker with a live bond, but for those that are down. Those are named, each with its page. */
function showCount({ synced, makers: listed, makers_down: down }, list) {
  const place = byId('count')
  setHidden(place, !synced || !list)
  if (!synced || !list) return
  const away = list.makers.filter(({ reach }) => reach === 'down')
  const key = JSON.stringify([listed, down, away.map(({ address }) => address)])
  if (place.dataset.shown === key) return // nothing is said twice, and no focus is lost
  place.dataset.shown = key
  if (listed === 0) {
    place.replaceChildren('Nobody has a live bond yet.')
    return
  }
  const told = down === 0 ? ': takers are told of all of them.' : ''
  place.replaceChildren(make('strong', {}, `${number(listed)} listed, ${number(down)} down`), told)
  if (down === 0) return
  const named = away.slice(0, NAMED_MAX)
  const rest = down - named.length
  const links = named.flatMap(({ address }, i) => [i === 0 ? ': ' : ', ', linkTo(address)])
  const more = rest > 0 && named.length > 0 ? ` and ${number(rest)} more` : ''
  place.append(...links, `${more}. Takers are told of the other ${number(listed - down)}.`)
}

function linkTo(address) {
  const [begin, rest] = shortAddress(address)
  return make('a', { href: `#maker=${encodeURIComponent(address)}` }, begin + rest)
}

/** How far the scan is, as a bar and in words. */
export function showProgress({ synced, progress }) {
  const isShown = !synced && Boolean(progress)
  setHidden(byId('progress'), !isShown)
  setHidden(byId('progress-note'), !isShown)
  if (!isShown) return
  const { from, at, to, blocks_per_s: rate, eta_s: left } = progress
  const percent = Math.min(100, (100 * (at - from + 1)) / Math.max(1, to - from + 1))
  byId('progress').setAttribute('aria-valuenow', percent.toFixed(1))
  byId('progress-bar').style.width = `${percent}%`
  // 100 % is said when it is done.
  const words = [
    `${Math.min(99.9, percent).toFixed(1)} %`,
    `block ${number(at)} of ${number(to)}`,
    ...(rate > 0 ? [`${rate < 10 ? rate.toFixed(1) : number(rate)} blocks a second`] : []),
    left === null || left === undefined ? `${plural(to - at, 'block')} to go` : `about ${roughly(left)} left`,
  ]
  setText(byId('progress-note'), words.join(' · '))
}

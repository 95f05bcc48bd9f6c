/** The upper half of the page: the link to the tracker, one sentence, what to do, key figures, and the cards. */
import { showAdvice } from './advice.js'
import { showCards } from './cards.js'
import { byId, setHidden, setText } from './dom.js'
import { showHeadline, showProgress } from './headline.js'
import { btc, clockTime, days, median, number, plural, roughly } from './words.js'

export function showStatus({ status, makers, bonds, link, refusal, atMs }) {
  showLink(link, refusal, atMs)
  if (link === 'offline') {
    const last = status?.height == null ? '' : ` It was last seen at block ${number(status.height)}.`
    setText(byId('headline'), 'The tracker does not answer')
    setText(byId('lede'), `Is the daemon running? sudo systemctl status fidelity-tracker tells.${last}`)
    for (const id of ['count', 'advice', 'progress', 'progress-note']) setHidden(byId(id), true)
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
  showAdvice(status)
  showFigures(status, makers, bonds)
  showCards(status)
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
    const since = atMs ? ` What stands here is from ${clockTime(atMs / 1000)}.` : ''
    setText(banner, `No connection to the tracker.${since} Trying again.`)
  } else if (hasFailed) setText(banner, `The tracker could not answer: ${refusal.message}`)
  setHidden(banner, link !== 'offline' && !hasFailed)
}

function showFigures(status, makers, bonds) {
  const rows = makers?.makers
  figure('makers', rows && number(makers.total), '', rows && upAndDown(status))
  figure('bonds', rows && number(status.bonds), '', 'Unspent, and still locked')
  figure('locked', rows && btc(rows.reduce((sum, { total_amount: amount }) => sum + amount, 0)), 'BTC', 'In live bonds')
  const left = bonds && median(bonds.map(({ blocks_left }) => blocks_left))
  figure(
    'left',
    left === undefined ? undefined : number(days(left)),
    'days',
    left && `${plural(left, 'block')}; half end sooner`,
  )
}

/** Of each maker one is true; who was not probed lately is not known. */
function upAndDown({ makers_up: up, makers_down: down, makers_unknown: unknown }) {
  const counts = [
    up > 0 && `${number(up)} up`,
    down > 0 && `${number(down)} down`,
    unknown > 0 && `${number(unknown)} not probed lately`,
  ]
  return counts.filter(Boolean).join(', ') || 'With a live bond'
}

/** `about`: what the number is of. */
function figure(name, value, unit, about) {
  setText(byId(`about-${name}`), (value !== undefined && about) || '\u00a0')
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

/** The watched relays: whom takers find there, and what is in the way. Nothing of it where none is watched. */
import { byId, make, setHidden, setText } from './dom.js'
import { ago, number, plural } from './words.js'

export function showRelays(relays, { time }) {
  setHidden(byId('relays'), !relays?.length)
  setHidden(byId('plot-relays'), !relays?.length)
  if (!relays?.length) return
  const whole = relays.filter(({ missing }) => missing === 0).length
  const known = relays.filter(({ missing }) => missing !== null).length
  const verdict =
    known === 0 ? 'Nothing known yet' : `Every bond is found at ${number(whole)} of ${plural(known, 'relay')}`
  setText(byId('relays-note'), verdict)
  byId('relays-list').replaceChildren(...relays.map((relay) => item(relay, time)))
}

function item(relay, time) {
  return make(
    'li',
    { 'data-tone': toneOf(relay) },
    make('span', { class: 'dot', 'aria-hidden': 'true' }),
    make('code', {}, relay.url.replace(/^wss?:\/\//, '')),
    relay.announced === null ? make('span', { class: 'counts' }, 'not known') : counts(relay),
    make('span', { class: 'note' }, [stateOf(relay, time), ...remarks(relay)].join(' · ')),
  )
}

function counts({ announced, missing, dead, invalid, invalid_by: by }) {
  const faults = Object.entries(by).filter(([, events]) => events > 0)
  const why = faults.map(([fault, events]) => `${events} ${fault.replace('_', ' ')}`).join(', ')
  const count = (value, word, more = '') =>
    make('span', { 'data-count': word }, make('strong', {}, number(value)), ` ${word}${more}`)
  return make(
    'span',
    { class: 'counts' },
    count(announced, 'announced'),
    count(missing, 'missing'),
    count(dead, 'dead'),
    count(invalid, 'invalid', why && ` (${why})`),
  )
}

function toneOf({ state, announced, missing, failure }) {
  if (state === 'live' && missing === 0) return 'good'
  if (announced === null && failure === null) return 'idle'
  return announced === null || (announced === 0 && missing > 0) ? 'bad' : 'warn'
}

function stateOf({ state, state_since: since, failure }, time) {
  if (state === 'live') return 'read'
  return failure === null ? state : `not read since ${ago(since, time)}: ${failure}`
}

/** What there is to say beside the counts. */
function remarks({ slowed, delay_s: delay, notices, publishing }) {
  const said = []
  if (slowed) said.push('sends faster than it is read')
  if (delay !== null) said.push(`new bonds are seen after ${plural(delay, 'second')}`)
  if (publishing?.accepted) said.push(`${number(publishing.accepted)} published`)
  if (publishing?.refusal) said.push(`refuses: ${publishing.refusal}`)
  if (notices.length > 0) said.push(notices[0])
  return said
}

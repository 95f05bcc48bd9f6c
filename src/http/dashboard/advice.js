/** What the operator can do about what is in the way: once for each cause, as `doctor` says it. */
import { byId, make, setHidden } from './dom.js'
import { capital } from './words.js'

export function showAdvice({ advice, checks }) {
  const place = byId('advice')
  setHidden(place, advice.length === 0)
  const key = JSON.stringify(advice.map(({ text, fix }) => [text, fix]))
  if (place.dataset.shown === key) return // an open part stays open
  place.dataset.shown = key
  byId('advice-list').replaceChildren(...advice.map((one) => item(one, checks[one.check].detail)))
}

/** `met`: the error itself, for those who want it. */
function item({ text, fix }, met) {
  return make(
    'li',
    {},
    make('p', {}, `${capital(text)}.`),
    make('p', { class: 'fix' }, make('code', {}, fix)),
    text.includes(met) ? undefined : make('details', {}, make('summary', {}, 'What was met'), make('code', {}, met)),
  )
}

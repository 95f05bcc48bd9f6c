/** What the tracker knows of an address or an outpoint that is in no list: its own `why`, in its own words. */
import { make, showEmpty } from './dom.js'
import { get } from './live.js'
import { STATES, sentence } from './maker-words.js'
import { hashOf } from './place.js'

/** What is asked for just now: an answer that comes late is for nobody. */
let asked = ''

/** Shows it in `place`. `kind`: as of maker-words.js. */
export async function askWhy(place, word, kind) {
  if (asked === word && !place.hidden) return
  asked = word
  if (place.dataset.shown !== word) showEmpty(place, 'Not in the list', 'Asking why.')
  else place.hidden = false
  try {
    const known = kind === 'outpoint' ? await ofBond(word) : await ofAddress(word)
    if (asked !== word) return
    place.dataset.shown = word
    place.replaceChildren(make('strong', {}, known.title), ...known.parts)
  } catch (error) {
    if (asked === word) showEmpty(place, 'Not in the list', error.message)
  } finally {
    if (asked === word) asked = ''
  }
}

async function ofBond(word) {
  const [txid, vout = '0'] = word.split(':')
  try {
    const { bond } = await get(`/api/v1/bonds/${txid}/${vout}`)
    const { address, state } = bond
    const { parts } = await ofAddress(address)
    const said = make('p', {}, `${txid}:${vout} is a bond of `, linkTo(address), `: ${STATES[state]}.`)
    return { title: 'A bond that is not in the list', parts: [said, ...parts] }
  } catch (error) {
    if (error.code !== 'not_found') throw error
    const text =
      'No transaction with such an output has announced a maker. See that it is confirmed on this network, that it is the funding transaction of a bond, and that every character is right.'
    return { title: 'No such bond', parts: [make('span', {}, text)] }
  }
}

async function ofAddress(word) {
  const address = word.includes(':') ? word : `${word.replace(/\.onion$/, '')}.onion:21`
  const { listed, reasons } = await get(`/api/v1/why/${encodeURIComponent(address)}`)
  const more = reasons.some(({ outpoint }) => outpoint !== null)
  return {
    title: listed ? 'It is listed' : 'Not in the list',
    parts: [
      make('span', {}, make('code', { class: 'whole' }, address)),
      reasonList(reasons),
      ...(more ? [make('p', {}, linkTo(address, 'Everything that is known of this maker'))] : []),
    ],
  }
}

function linkTo(address, text = address) {
  return make('a', { href: hashOf({ maker: address }) }, text)
}

/** `reasons`: as of /api/v1/why. */
export function reasonList(reasons) {
  return make('ul', { class: 'reasons' }, ...reasons.map(({ text }) => make('li', {}, sentence(text))))
}

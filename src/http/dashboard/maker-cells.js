/** A maker as a row of the table: each cell says a number, and below it what it means. */
import { bar, copy, make } from './dom.js'
import { lasting, NO_LOCK, percent, proofOf } from './maker-words.js'
import { hashOf } from './place.js'
import { dateIn, feesInShort, number, plural, shortAddress, timeFee, todayRefusals } from './words.js'

/** `tip`: the block by whose time dates are told. */
export function makerRow(maker, rank, tip, isFresh) {
  const { address } = maker
  const row = make(
    'tr',
    { role: 'row', 'data-address': address, class: isFresh && 'fresh' },
    cell('rank', undefined, String(rank)),
    cell('who', undefined, ...who(maker)),
    cell('proof', 'Proof', ...proof(maker)),
    cell('number value', 'Value, sats¹·³', ...value(maker)),
    cell('number amount', 'Locked', ...locked(maker)),
    cell('number lock', 'Lock ends in', ...lockLeft(maker, tip)),
    cell('number fees', 'Fees', ...fee(maker)),
    cell('up', 'Uptime', ...uptime(maker)),
    cell('number pick', 'Picked', ...pick(maker)),
  )
  // All of a row is as good as its link, but what is marked to be copied stays.
  row.addEventListener('click', (event) => {
    if (event.target instanceof Element && event.target.closest('a, button')) return
    if (getSelection().toString() === '') location.hash = hashOf({ maker: address })
  })
  return row
}

/** `label` stands above the value on a narrow screen. */
function cell(className, label, ...content) {
  const caption = label && make('span', { class: 'label', 'aria-hidden': 'true' }, label)
  return make('td', { role: 'cell', class: className }, caption, ...content)
}

const under = (text) => make('span', { class: 'under' }, text)

function who(maker) {
  const { address, format, bonds } = maker
  const [begin, rest] = shortAddress(address)
  const link = make(
    'a',
    { href: hashOf({ maker: address }), class: 'maker-link' },
    make('code', { title: address }, begin, make('span', {}, rest)),
  )
  const button = make('button', { type: 'button', class: 'button copy', 'aria-label': `Copy ${address}` }, 'Copy')
  button.addEventListener('click', () => copy(address, button))
  return [
    link,
    make(
      'span',
      { class: 'under maker' },
      `format ${format} · ${plural(bonds, 'bond')}`,
      isSkipped(maker) ? mark(maker) : undefined,
      button,
    ),
  ]
}

/** Takers of today accept none of its bonds. */
export function isSkipped({ bonds_today: taken }) {
  return taken === 0
}

/** Why stands on the maker's page, too. */
function mark({ today_refusals: codes }) {
  const why = todayRefusals(codes)
  return make('span', { class: 'mark', title: why }, 'not today', make('span', { class: 'hidden' }, `: ${why}`))
}

function proof(maker) {
  const { word, tone } = proofOf(maker)
  const check = maker.proof_failed === null ? [] : [under(maker.proof_failed)]
  return [make('span', { class: 'tone', 'data-tone': tone }, word), ...check]
}

function value({ value, lock_height: lock }) {
  return lock === null ? ['–', under(NO_LOCK.slice(3))] : [number(value)]
}

function locked({ total_amount: amount }) {
  return [number(amount), under('sats')]
}

function lockLeft({ blocks_left: left, lock_height: lock }, tip) {
  const tone = left < 1_008 ? 'bad' : left < 4_032 ? 'warn' : undefined // a week, four weeks
  return [
    make('span', { class: 'tone left', 'data-tone': tone }, lasting(left)),
    under(`${number(left)} blocks, ${lock === null ? 'then too old' : dateIn(left + 1, tip)}`),
  ]
}

function fee({ offer, offer_fault: fault }) {
  if (offer) return [feesInShort(offer), under(timeFee(offer) || 'nothing for the time')]
  return fault === null ? ['–', under('no offer seen')] : ['refused', under(fault)]
}

function uptime({ reach, probes, uptime_ppm: ppm }) {
  const isKnown = probes > 0 && ppm !== null
  const tone = ppm < 800_000 ? 'bad' : ppm < 950_000 ? 'warn' : undefined
  return [
    make(
      'span',
      { class: 'uptime', 'data-reach': reach },
      bar(isKnown ? ppm / 1e6 : undefined, tone),
      isKnown ? make('span', {}, percent(ppm), ' ', make('b', {}, reach === 'unknown' ? '' : reach)) : 'not probed',
    ),
    ...(isKnown ? [under(`of ${plural(probes, 'probe')}`)] : []),
  ]
}

const OBSTACLES = {
  'not-today': 'not today',
  down: 'down',
  'proof-failed': 'proof refused',
  'offer-refused': 'offer refused',
  amount: 'limits',
  'others-first': '',
  'not-known': 'not known',
}

function pick({ pick: { chance_ppm: chance, place, obstacle } }) {
  const why = [place === null ? '' : `number ${number(place)}`, obstacle ? OBSTACLES[obstacle] : ''].filter(Boolean)
  return [chance === null ? '–' : percent(chance), under(why.join(', '))]
}

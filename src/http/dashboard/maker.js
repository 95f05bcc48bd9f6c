/** A maker's own page: everything that is known of it, and why it is listed or is not. */
import { byId, copy, make, setHidden, setText } from './dom.js'
import { get } from './live.js'
import {
  lasting,
  NO_LOCK,
  PICK_SENTENCE,
  percent,
  proofOf,
  REFUSALS,
  STATES,
  sentence,
  VALUE_SENTENCE,
  valueInFull,
} from './maker-words.js'
import { reasonList } from './not-listed.js'
import { hashOfTable, here, onPlace } from './place.js'
import { latencyStrip, reachStrip } from './strips.js'
import {
  ago,
  btc,
  dateIn,
  dateOf,
  feesInShort,
  latency,
  median,
  momentOf,
  number,
  plural,
  roughly,
  shortAddress,
  todayRefusals,
  trimmed,
} from './words.js'

/** A month, as long as an uptime is told for. */
const HOURS = 720

export class MakerPage {
  #status
  #lists
  #reading = ''

  constructor() {
    onPlace((place, before) => {
      if (place.maker === before.maker) return
      this.#open(place.maker)
    })
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && here().maker) location.hash = hashOfTable()
    })
    this.#open(here().maker)
  }

  /** `known`: as of live.js. Read anew whenever the lists are. */
  show({ status, makers }) {
    this.#status = status
    if (!here().maker) return
    if (makers !== this.#lists || !makers) void this.#read(here().maker)
    this.#lists = makers
    this.#title()
  }

  #open(address) {
    document.body.dataset.view = address ? 'maker' : 'market'
    setHidden(byId('maker'), !address)
    if (!address) return
    byId('all-makers').href = hashOfTable()
    const [begin, rest] = shortAddress(address)
    byId('maker-name').replaceChildren(begin, make('span', {}, rest))
    byId('maker-body').replaceChildren(make('p', { class: 'note' }, 'Reading what is known of it.'))
    setText(byId('maker-lede'), '\u00a0')
    scrollTo(0, 0)
    byId('maker-name').focus({ preventScroll: true })
    this.#title()
    void this.#read(address)
  }

  #title() {
    if (here().maker) document.title = `Maker ${shortAddress(here().maker)[0]} · Fidelity tracker`
  }

  async #read(address) {
    if (!this.#status || this.#reading === address) return
    this.#reading = address
    const path = encodeURIComponent(address)
    try {
      const [why, of, probes] = await Promise.all([
        get(`/api/v1/why/${path}`),
        get(`/api/v1/makers/${path}`).catch(orNothing),
        get(`/api/v1/makers/${path}/probes?hours=${HOURS}`),
      ])
      if (here().maker === address) draw(address, { why, of, probes, status: this.#status })
    } catch (error) {
      if (here().maker !== address) return
      setText(byId('maker-lede'), 'Nothing is told of it just now.')
      byId('maker-body').replaceChildren(make('p', { class: 'empty' }, make('strong', {}, 'No answer'), error.message))
    } finally {
      this.#reading = ''
    }
  }
}

/** No bond announces it: that is an answer. */
function orNothing(error) {
  if (error.code !== 'not_found') throw error
  return undefined
}

function draw(address, { why, of, probes, status }) {
  const { maker = null, bonds = [], relays = [] } = of ?? {}
  const state = maker === null ? 'none' : maker.reach
  setText(byId('maker-lede'), ledeOf(why, maker, bonds))
  byId('maker').dataset.reach = state
  const copyButton = make('button', { type: 'button', class: 'button' }, 'Copy')
  copyButton.addEventListener('click', () => copy(address, copyButton))
  const parts = [
    make('p', { class: 'whole-address' }, make('code', {}, address), copyButton),
    maker && figures(maker, probes, status),
    panel('Why', 'why', reasonsOf(why)),
    bonds.length > 0 && panel('Bonds', 'bonds', ...bonds.map((bond) => bondCard(bond, status))),
    panel('Reach over time', 'reach', ...reach(probes, maker, status)),
    maker && panel('Fees and limits', 'offer', ...offer(maker, status)),
    maker && panel('What takers make of it', 'takers', takers(maker)),
    maker && panel('Relays', 'relays', relayPart(relays)),
  ]
  const wasFocused = document.activeElement?.closest('#maker-body') && document.activeElement.textContent
  byId('maker-body').replaceChildren(...parts.filter(Boolean))
  if (wasFocused === 'Copy') copyButton.focus()
}

function ledeOf({ listed }, maker, bonds) {
  if (listed) return 'Listed: takers that ask this tracker find it.'
  if (maker) return 'Has a live bond, but is not listed: it is down.'
  return bonds.length > 0 ? 'Not listed: none of its bonds is live.' : 'Not listed: no bond announces it.'
}

function panel(title, name, ...content) {
  const id = `maker-${name}-title`
  return make('section', { class: `panel maker-${name}`, 'aria-labelledby': id }, make('h2', { id }, title), ...content)
}

/** `rows`: word, what is so, and what there is to say of it. */
function facts(rows, className = 'facts') {
  return make(
    'dl',
    { class: className },
    ...rows
      .filter(Boolean)
      .map(([word, what, note]) =>
        make(
          'div',
          {},
          make('dt', {}, word),
          make('dd', {}, what, ...(note ? [make('span', { class: 'under' }, note)] : [])),
        ),
      ),
  )
}

function figures(maker, { probes }, status) {
  const { reach, last_up: lastUp, uptime_ppm: ppm, probes: observed, blocks_left: left, pick } = maker
  const ms = median(probes.filter(({ outcome }) => outcome === 'answered').map(({ latency_ms }) => latency_ms))
  const end = maker.lock_height === null ? 'then it is too old' : `until ${dateIn(left + 1, status)}`
  return facts(
    [
      ['Reach', make('span', { class: 'tone', 'data-tone': TONES[reach] }, reach), lastAnswer(lastUp, status)],
      ['Uptime', ppm === null ? '–' : percent(ppm), `of ${plural(observed, 'probe')} in 30 days`],
      [
        'Latency',
        ms === undefined ? '–' : latency(ms),
        ms === undefined ? 'no answer lately' : 'median of the last answers',
      ],
      [
        'Locked',
        `${btc(maker.total_amount)} BTC`,
        `${number(maker.total_amount)} sats in ${plural(maker.bonds, 'live bond')}`,
      ],
      ['Lock ends in', lasting(left), `${number(left)} blocks, ${end}`],
      [
        'Value',
        maker.lock_height === null ? '–' : number(maker.value),
        maker.lock_height === null ? NO_LOCK.slice(3) : 'sats¹·³, by its best bond',
      ],
      ['Picked', pick.chance_ppm === null ? '–' : percent(pick.chance_ppm), placeOf(pick)],
    ],
    'figures maker-figures',
  )
}

function placeOf({ chance_ppm: chance, place }) {
  if (place !== null) return `number ${number(place)} by address`
  return chance === null ? 'not known' : 'never by takers themselves'
}

const TONES = { up: 'good', down: 'bad', unknown: 'idle' }

function lastAnswer(lastUp, { time }) {
  return lastUp === null ? 'it never answered' : `last answer ${ago(lastUp, time)}`
}

function reasonsOf({ listed, reasons }) {
  if (reasons.length > 0) return reasonList(reasons)
  return make('p', {}, listed ? 'Nothing speaks against it.' : 'Nothing is known of it.')
}

function bondCard(bond, status) {
  const { outpoint, state, conf_height: conf, block_time: confTime, lock_height: lock, blocks_left: left } = bond
  const [txid, vout] = outpoint.split(':')
  const button = make('button', { type: 'button', class: 'button', 'aria-label': `Copy ${outpoint}` }, 'Copy')
  button.addEventListener('click', () => copy(outpoint, button))
  const isLive = state === 'live'
  return make(
    'article',
    { class: 'bond', 'data-state': state },
    make('h3', { class: 'outpoint' }, make('code', {}, txid, make('span', {}, `:${vout}`)), button),
    facts([
      ['State', make('span', { class: 'tone', 'data-tone': isLive ? 'good' : 'idle' }, STATES[state]), endOf(bond)],
      ['Amount', `${number(bond.amount)} sats`, `${btc(bond.amount)} BTC`],
      isLive && ['Value', valueInFull(bond)],
      conf !== null && ['Confirmed at', `block ${number(conf)}`, dateOf(confTime)],
      [
        'Locked until',
        lock === null ? NO_LOCK : `block ${number(lock)}`,
        lock === null ? '' : dateIn(lock - status.height, status),
      ],
      left !== null && ['Left', lasting(left), `${number(left)} blocks`],
      ['Proof', bond.proven ? 'proven' : 'not proven', bond.proven ? 'the maker holds its key' : ''],
      ['Format', bond.format, bond.format === 'D' ? 'as makers of today announce' : 'an older one'],
    ]),
  )
}

function endOf({ state, refusal, spent_by: spent }) {
  if (state === 'refused') return REFUSALS[refusal] ?? refusal
  return spent ? `at block ${number(spent.height)} by ${spent.txid}` : ''
}

function reach({ hours, probes }, maker, { time }) {
  const sum = (name) => hours.reduce((all, hour) => all + hour[name], 0)
  const [answered, failed, unjudged] = ['answered', 'failed', 'unjudged'].map(sum)
  if (hours.length === 0) {
    return [make('p', {}, 'It was not probed in the last 30 days: nothing is known of how often it answers.')]
  }
  const aside =
    unjudged > 0 ? `; ${plural(unjudged, 'probe')} more say nothing, as our own way was not known to work` : ''
  const failure = probes.find(({ outcome }) => outcome === 'failed')
  const last = failure ? ` The last failure: ${momentOf(failure.time)}, ${failure.failure}, ${failure.text}.` : ''
  const said = `${plural(answered + failed, 'probe')} in the last 30 days: ${number(answered)} answered, ${number(failed)} did not${aside}.${last}`
  const times = probes.filter(({ outcome }) => outcome === 'answered').map(({ latency_ms }) => latency_ms)
  const day =
    maker?.uptime_1d_ppm == null
      ? ''
      : ` In the last day ${percent(maker.uptime_1d_ppm)} of ${plural(maker.probes_1d, 'probe')}.`
  return [
    make('p', {}, `${said}${day}`),
    reachStrip(hours, HOURS, time),
    make('p', { class: 'note strip-ends' }, make('span', {}, '30 days ago'), make('span', {}, 'now')),
    ...(times.length > 1
      ? [
          make('h3', {}, 'Latency'),
          make(
            'p',
            {},
            `Median ${latency(median(times))}, from ${latency(Math.min(...times))} to ${latency(Math.max(...times))}, of ${plural(times.length, 'answer')} since ${momentOf(probes.at(-1).time)}.`,
          ),
          latencyStrip(times.toReversed()),
          make(
            'p',
            { class: 'note strip-ends' },
            make('span', {}, momentOf(probes.at(-1).time)),
            make('span', {}, momentOf(probes[0].time)),
          ),
        ]
      : []),
  ]
}

function offer({ offer, offer_fault: fault, dialect, protocols }, { time }) {
  if (!offer) {
    const text =
      fault === null ? 'It has given no offer yet.' : `Its last offer can’t be meant, and is not shown: ${fault}.`
    return [make('p', {}, text)]
  }
  const { lightning, lightning_fault: lightningFault } = offer
  return [
    facts([
      ['Fixed', `${number(offer.base_fee)} sats`],
      ['Of the amount', `${trimmed(offer.amount_relative_fee_pct)} %`],
      ['For the time', `${trimmed(offer.time_relative_fee_pct)} %`, 'of the amount for each block of the refund lock'],
      ['For example', `${number(offer.swap_fee)} sats`, 'for 1,000,000 sats and a refund lock of 20 blocks'],
      ['Limits', `${number(offer.min_size)} to ${number(offer.max_size)} sats`, `up to ${btc(offer.max_size)} BTC`],
      offer.required_confirms !== null && ['Confirmations', number(offer.required_confirms), 'of the funding'],
      ['Shortest lock', plural(offer.minimum_locktime, 'block'), `about ${roughly(offer.minimum_locktime * 600)}`],
      ['Protocols', protocols?.length ? protocols.join(', ') : 'none listed', dialect ? `speaks ${dialect}` : ''],
      [
        'Lightning',
        lightning ? lightningWays(lightning) : lightningFault ? 'can’t be meant' : 'no',
        lightning ? feesInShort(lightning) : (lightningFault ?? ''),
      ],
    ]),
    make('p', { class: 'note' }, `These are its own claims, as of ${ago(offer.seen_at, time)}.`),
  ]
}

function lightningWays({ swap_in: into, swap_out: out }) {
  return [into && 'in', out && 'out'].filter(Boolean).join(' and ') || 'neither in nor out'
}

function takers(maker) {
  const { text: proven } = proofOf(maker)
  const today = maker.today
    ? 'They accept its announcement.'
    : `They skip its announcement: ${todayRefusals(maker.today_refusals)}.`
  const others = maker.today || maker.bonds_today === 0 ? '' : ` They accept another of its bonds.`
  const { chance_ppm: chance, text } = maker.pick
  return facts(
    [
      ['Today’s rules', `${today}${others}`],
      ['Proof', proven],
      ['Picked', chance === null ? 'Not known' : `${percent(chance)} of swaps`, `${sentence(text)} ${PICK_SENTENCE}`],
      ['Value', valueInFull(maker), VALUE_SENTENCE],
    ],
    'facts long',
  )
}

function relayPart(relays) {
  if (relays.length === 0) {
    return make('p', {}, 'No relay is watched, so that nobody knows which of them announce it (--nostr-relays).')
  }
  const words = {
    true: ['good', 'announces its bond'],
    false: ['bad', 'does not announce it'],
    null: ['idle', 'not known'],
  }
  return make(
    'ul',
    { class: 'maker-relay-list' },
    ...relays.map(({ url, announces }) => {
      const [tone, word] = words[String(announces)]
      return make(
        'li',
        { 'data-tone': tone },
        make('span', { class: 'dot', 'aria-hidden': 'true' }),
        make('code', {}, url),
        make('span', { class: 'note' }, word),
      )
    }),
  )
}

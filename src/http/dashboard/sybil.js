/** What it would cost somebody to hold all places of a swap, and how that was: a sentence, a curve, and what is taken for granted. */
import { byId, make, setHidden, setText } from './dom.js'
import { get } from './live.js'
import { lasting } from './maker-words.js'
import { stepStrip } from './strips.js'
import { btc, dateOf, number, plural, shortAddress } from './words.js'

export class SybilPanel {
  #height
  #asked = { makers: '2', chance: '50' }

  constructor() {
    for (const name of ['makers', 'chance']) {
      byId(`sybil-${name}`).addEventListener('change', () => {
        this.#asked[name] = byId(`sybil-${name}`).value
        void this.#read()
      })
    }
  }

  /** `makers`: as of /api/v1/makers. Read anew with each block. */
  show({ makers }) {
    setHidden(byId('sybil'), !makers || makers.total === 0)
    if (!makers || makers.total === 0 || makers.block_hash === this.#height) return
    this.#height = makers.block_hash
    void this.#read()
  }

  async #read() {
    const { makers, chance } = this.#asked
    try {
      const report = await get(`/api/v1/sybil?makers=${makers}&chance=${chance}`)
      if (makers === this.#asked.makers && chance === this.#asked.chance) draw(report)
    } catch (error) {
      this.#height = undefined // the next look asks again
      setText(byId('sybil-value'), `Not known just now: ${error.message}`)
    }
  }
}

const all = (n) => (n === 2 ? 'both' : `all ${n}`)

function draw({ makers, chance_ppm: chance, counted, places, points, complete_from: from }) {
  const { by_value: byValue, today } = places.at(-1)
  setText(byId('sybil-today'), todaySentence(makers, today))
  setText(
    byId('sybil-value'),
    `Were makers picked by what their bonds are worth, an attacker would have to lock ${btc(byValue.sats)} BTC for ${lasting(byValue.lock_blocks)} to be ${all(makers)} makers of a swap with a chance of ${chance / 10_000} %.`,
  )
  setText(
    byId('sybil-assumed'),
    `Reckoned with ${plural(counted.makers, 'maker')} whose bonds takers accept, whether they answer or not; the attacker has ${plural(byValue.bonds, 'bond')} of equal size, locked for as long as counts (${number(byValue.lock_blocks)} blocks), and gets his coins back: what he loses is their use, about ${number(byValue.interest)} sats at 1.5 % a year.`,
  )
  byId('sybil-rows').replaceChildren(
    ...places.map(({ held, by_value, today }) =>
      make(
        'tr',
        {},
        make('th', { scope: 'row' }, held === makers ? `${all(makers)} places` : `at least ${held} of ${makers}`),
        make('td', {}, `${btc(today.sats)} BTC`, make('span', { class: 'under' }, namesNote(today))),
        make(
          'td',
          {},
          `${btc(by_value.sats)} BTC`,
          make('span', { class: 'under' }, `${plural(by_value.bonds, 'bond')}, ${lasting(by_value.lock_blocks)}`),
        ),
      ),
    ),
  )
  const last = points.at(-1)
  const shown = points.filter(
    ({ makers: counted }, i) => counted > 0 || points[i + 1]?.makers > 0 || i === points.length - 1,
  )
  const costs = shown.map((point) => point.places.at(-1).sats)
  setHidden(byId('sybil-curve'), shown.length < 2)
  if (shown.length < 2) return
  const partial = from > shown[0].height ? ` Before block ${number(from)}, bonds older than the scan are missing.` : ''
  const most = Math.max(...costs)
  byId('sybil-plot').replaceChildren(
    stepStrip(
      shown.map(({ height }) => height),
      [costs],
    ),
  )
  setText(byId('sybil-top'), `${btc(most)} BTC`)
  byId('sybil-ends').replaceChildren(
    ...[shown[0], last].map(({ height, time }) => make('span', {}, `block ${number(height)}, ${dateOf(time)}`)),
  )
  setText(
    byId('sybil-note'),
    `For ${all(makers)} places, by value: ${btc(costs[0])} BTC at block ${number(shown[0].height)}, at most ${btc(most)} BTC, now ${btc(costs.at(-1))} BTC.${partial}`,
  )
}

function todaySentence(makers, { sats, bonds, lock_blocks: blocks, before, names }) {
  const lock = `${plural(bonds, 'bond')} of the least that counts (${number(sats)} sats together, locked for ${lasting(blocks)})`
  if (before === null) {
    return `Takers of today pick makers by address, whatever their bonds are worth, and just now there is none that they can pick: whoever has ${lock} is ${all(makers)} makers of every swap.`
  }
  const tries = names === null ? '' : `, which about ${plural(names, 'try').replace('trys', 'tries')} find`
  return `Takers of today pick makers by address, whatever their bonds are worth: with ${lock} and names that come before ${shortAddress(before)[0]}…${tries}, an attacker is ${all(makers)} makers of nearly every swap.`
}

function namesNote({ bonds, lock_blocks: blocks, before, names }) {
  const tries = names === null || before === null ? '' : `, about ${plural(names, 'name')} tried`
  return `${plural(bonds, 'bond')}, ${lasting(blocks)}${tries}`
}

/** The table of makers: search, sort, and a few rows at a time. */
import { all, bar, byId, copy, make, setHidden, setText, showEmpty } from './dom.js'
import { days, fees, feesInFull, number, plural, shortAddress, todayRefusals } from './words.js'

/** Rows shown at first; fewer where each is a small card. "Show more" adds four times as many. */
const STEP = matchMedia('(max-width: 760px)').matches ? 10 : 25

/** What each column is sorted by. Unknown is last either way. */
const KEYS = {
  address: ({ address }) => address,
  value: ({ value }) => value,
  amount: ({ total_amount: amount }) => amount,
  blocks_left: ({ blocks_left }) => blocks_left,
  fee: ({ offer }) => offer?.swap_fee,
  uptime: ({ uptime_ppm }) => uptime_ppm ?? undefined,
}
/** Small first: names, and what one pays. */
const ASCENDING = new Set(['address', 'fee'])

export class MakersTable {
  #list
  #sort = { key: 'value', isAscending: false }
  #shown = STEP
  #known = new Set()

  constructor() {
    for (const head of all('#makers-table th[data-key]')) {
      head.querySelector('button').addEventListener('click', () => this.#sortBy(head.dataset.key))
    }
    byId('sort-choice').addEventListener('change', () => {
      const key = byId('sort-choice').value
      this.#sort = { key, isAscending: ASCENDING.has(key) }
      this.#draw()
    })
    const search = byId('search')
    search.addEventListener('input', () => {
      this.#shown = STEP
      this.#draw()
    })
    search.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return
      search.value = ''
      search.dispatchEvent(new Event('input'))
    })
    document.addEventListener('keydown', (event) => {
      const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? '')
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      search.focus()
    })
    byId('more').addEventListener('click', () => {
      const firstNew = this.#shown
      this.#shown += 4 * STEP
      this.#draw()
      byId('makers-rows').rows[firstNew]?.querySelector('button')?.focus()
    })
  }

  /** `list`: as of /api/v1/makers, or undefined while there is none; `refusal`: why. */
  show(list, refusal) {
    const isFirst = !this.#list
    this.#list = list
    this.#draw(isFirst)
    if (!list) this.#explain(refusal)
    this.#known = new Set(list?.makers.map(({ address }) => address))
  }

  #sortBy(key) {
    const isSame = this.#sort.key === key
    this.#sort = { key, isAscending: isSame ? !this.#sort.isAscending : ASCENDING.has(key) }
    byId('sort-choice').value = key
    this.#draw()
  }

  #draw(isFirst = false) {
    const list = this.#list
    byId('makers-table').hidden = !list || list.makers.length === 0
    for (const id of ['makers-empty', 'more', 'today-legend']) setHidden(byId(id), true)
    this.#markHeads()
    if (!list) return
    const ranked = list.makers.map((maker, i) => ({ maker, rank: i + 1 }))
    const word = byId('search').value.trim().toLowerCase()
    const found = ranked.filter(({ maker }) => maker.address.includes(word) || maker.outpoint.startsWith(word || '-'))
    found.sort(this.#order())
    const rows = found.slice(0, this.#shown)
    const focused = document.activeElement?.closest('#makers-rows tr')?.getAttribute('data-address')
    byId('makers-rows').replaceChildren(
      ...rows.map(({ maker, rank }) => row(maker, rank, !isFirst && !this.#known.has(maker.address))),
    )
    if (focused)
      byId('makers-rows')
        .querySelector(`[data-address="${CSS.escape(focused)}"] button`)
        ?.focus()
    const what = word
      ? `${number(found.length)} of ${plural(ranked.length, 'maker')} match`
      : plural(ranked.length, 'maker')
    const rest = list.broken.length > 0 ? `; ${plural(list.broken.length, 'row')} more can’t be shown` : ''
    setText(byId('makers-note'), `${what} with a live bond at block ${number(list.height)}${rest}`)
    this.#drawLegend()
    const more = byId('more')
    setHidden(more, found.length <= rows.length)
    setText(more, `Show ${number(Math.min(4 * STEP, found.length - rows.length))} more`)
    if (ranked.length === 0) {
      setText(byId('makers-note'), `No live bond at block ${number(list.height)}`)
      showEmpty(
        byId('makers-empty'),
        'No makers yet',
        'As soon as somebody locks coins and announces an address, a maker appears here by itself.',
      )
    } else if (found.length === 0) {
      byId('makers-table').hidden = true
      showEmpty(
        byId('makers-empty'),
        'Nothing found',
        `No maker's address or bond has “${word}” in it. Escape clears the search.`,
      )
    }
  }

  #drawLegend() {
    const { makers } = this.#list
    const skipped = makers.filter(isSkipped).length
    setHidden(byId('today-legend'), skipped === 0)
    setText(
      byId('today-legend'),
      `not today: ${number(skipped)} of ${plural(makers.length, 'maker')} announce in a way that takers since September 2026 skip; why, the mark says.`,
    )
  }

  #explain(refusal) {
    setText(byId('makers-note'), '\u00a0')
    const isBehind = refusal?.code === 'not_synced'
    if (isBehind) {
      showEmpty(
        byId('makers-empty'),
        'Not yet',
        'The list is shown when the scan has reached the tip: half a list would mislead.',
      )
    } else if (refusal) showEmpty(byId('makers-empty'), 'No list', 'It is shown as soon as the tracker can answer.')
    else showEmpty(byId('makers-empty'), 'Loading', 'Reading the list of makers.')
  }

  #order() {
    const { key, isAscending } = this.#sort
    const of = KEYS[key]
    const sign = isAscending ? 1 : -1
    return (a, b) => {
      const [x, y] = [of(a.maker), of(b.maker)]
      if (x === y) return a.rank - b.rank
      if (x === undefined) return 1
      if (y === undefined) return -1
      return x < y ? -sign : sign
    }
  }

  #markHeads() {
    for (const head of all('#makers-table th[data-key]')) {
      if (head.dataset.key !== this.#sort.key) head.removeAttribute('aria-sort')
      else head.setAttribute('aria-sort', this.#sort.isAscending ? 'ascending' : 'descending')
    }
  }
}

/** Bonds are locked for at most this many blocks: a full bar. */
const LOCK_BLOCKS_MAX = 25_920

function row(maker, rank, isFresh) {
  const { address, value, total_amount: amount, blocks_left: left, offer } = maker
  const refused = maker.offer_fault === null ? '–' : make('span', { title: maker.offer_fault }, 'refused')
  return make(
    'tr',
    { role: 'row', 'data-address': address, class: isFresh && 'fresh' },
    cell('rank', undefined, String(rank)),
    cell('who', undefined, who(maker)),
    cell('number', 'Value', number(value)),
    cell('number', 'Locked (sats)', number(amount)),
    cell('number', 'Blocks left', blocksLeft(left)),
    cell(
      offer ? 'number fees' : 'number fees none',
      'Fees',
      offer ? make('span', { title: feesInFull(offer) }, fees(offer)) : refused,
    ),
    cell('up', 'Uptime', uptime(maker)),
  )
}

/** `label` stands above the value on a narrow screen. */
function cell(className, label, content) {
  const caption = label && make('span', { class: 'label', 'aria-hidden': 'true' }, label)
  return make('td', { role: 'cell', class: className }, caption, content)
}

function who(maker) {
  const { address } = maker
  const [begin, rest] = shortAddress(address)
  const code = make('code', { title: address }, begin, make('span', {}, rest))
  const button = make('button', { type: 'button', class: 'button copy', 'aria-label': `Copy ${address}` }, 'Copy')
  button.addEventListener('click', () => copy(address, button))
  return make('span', { class: 'maker' }, code, isSkipped(maker) ? mark(maker) : undefined, button)
}

/** Takers of today accept none of its bonds. */
function isSkipped({ bonds_today: taken }) {
  return taken === 0
}

/** Why, to whoever points at it, and to whoever hears it. */
function mark({ today_refusals: codes }) {
  const why = todayRefusals(codes)
  return make('span', { class: 'mark', title: why }, 'not today', make('span', { class: 'hidden' }, `: ${why}`))
}

function blocksLeft(left) {
  const tone = left < 1_008 ? 'bad' : left < 4_032 ? 'warn' : undefined // a week, four weeks
  return make(
    'span',
    { class: 'left', title: `about ${plural(days(left), 'day')}` },
    make('span', {}, number(left)),
    bar(left / LOCK_BLOCKS_MAX, tone),
  )
}

function uptime({ reach, probes, uptime_ppm: ppm }) {
  if (probes === 0 || ppm === null) {
    return make('span', { class: 'uptime', 'data-reach': reach }, bar(undefined), 'not probed')
  }
  const percent = `${(ppm / 10_000).toFixed(ppm >= 999_500 ? 0 : 1)} %`
  const tone = ppm < 800_000 ? 'bad' : ppm < 950_000 ? 'warn' : undefined
  const title = `${percent} of ${plural(probes, 'probe')} answered; now ${reach}`
  return make(
    'span',
    { class: 'uptime', 'data-reach': reach, title },
    bar(ppm / 1e6, tone),
    make('span', {}, percent, ' ', make('b', {}, reach === 'unknown' ? '' : reach)),
  )
}

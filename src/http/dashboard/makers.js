/** The table of makers: search, filters, sort, and a few rows at a time; those that are down apart from the others. */
import { all, byId, setHidden, setText, showEmpty } from './dom.js'
import { isSkipped, makerRow } from './maker-cells.js'
import { normal, PICK_SENTENCE, pastedKind, VALUE_SENTENCE } from './maker-words.js'
import { askWhy } from './not-listed.js'
import { go, here, onPlace } from './place.js'
import { number, plural } from './words.js'

/** Rows shown at first; fewer where each is a small card. "Show more" adds four times as many. */
const STEP = matchMedia('(max-width: 1240px)').matches ? 10 : 25

/** What each column is sorted by. Unknown is last either way. */
const KEYS = {
  address: ({ address }) => address,
  proof: ({ proven, proof_failed: failed }) => (proven ? 2 : failed === null ? 1 : 0),
  value: ({ value }) => value,
  amount: ({ total_amount: amount }) => amount,
  blocks_left: ({ blocks_left }) => blocks_left,
  fee: ({ offer }) => offer?.swap_fee,
  uptime: ({ uptime_ppm }) => uptime_ppm ?? undefined,
  pick: ({ pick }) => pick.chance_ppm ?? undefined,
}
/** Small first: names, and what one pays. */
const ASCENDING = new Set(['address', 'fee'])

/** What each filter leaves. */
const FILTERS = {
  up: ({ reach }) => reach === 'up',
  proven: ({ proven }) => proven,
  today: (maker) => !isSkipped(maker),
}

export class MakersTable {
  /** As of /api/v1/makers, and the bonds of /api/v1/bonds by their makers; undefined while there are none. */
  #list
  #outpoints = new Map()
  #status
  #shown = { live: STEP, down: STEP }
  #known = new Set()

  constructor() {
    for (const head of all('#makers-table th[data-key]')) {
      head.querySelector('button').addEventListener('click', () => this.#sortBy(head.dataset.key))
    }
    byId('sort-choice').addEventListener('change', () => go({ sort: byId('sort-choice').value, order: '' }))
    for (const name of Object.keys(FILTERS)) {
      byId(`filter-${name}`).addEventListener('click', () => go({ [name]: here()[name] ? '' : '1' }))
    }
    byId('filter-format').addEventListener('change', () => go({ format: byId('filter-format').value }))
    const search = byId('search')
    search.addEventListener('input', () => go({ q: search.value }, { isTyping: true }))
    search.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') go({ q: '' })
    })
    byId('clear').addEventListener('click', () => {
      go({ q: '', up: '', proven: '', today: '', format: '' })
      search.focus()
    })
    document.addEventListener('keydown', (event) => {
      const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? '')
      if (event.key !== '/' || isTyping || here().maker || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      search.focus()
    })
    for (const group of ['live', 'down']) {
      byId(`more-${group}`).addEventListener('click', () => {
        const firstNew = this.#shown[group]
        this.#shown[group] += 4 * STEP
        this.#draw()
        rowsOf(group).rows[firstNew]?.querySelector('a')?.focus()
      })
    }
    onPlace(({ maker }, before) => {
      if (maker) return
      if (!before.maker) this.#shown = { live: STEP, down: STEP }
      this.#draw()
      if (before.maker) linkOf(before.maker)?.focus()
    })
  }

  /** `known`: as of live.js. */
  show({ makers, bonds, status, refusal }) {
    const isFirst = !this.#list
    this.#list = makers
    this.#status = status
    this.#outpoints = Map.groupBy(bonds ?? [], ({ address }) => address)
    this.#draw(isFirst)
    if (!makers) this.#explain(refusal)
    this.#known = new Set(makers?.makers.map(({ address }) => address))
  }

  #sortBy(key) {
    const { sort, isAscending } = sortOf(here())
    const turned = isAscending ? 'desc' : 'asc'
    const usual = ASCENDING.has(key) ? 'asc' : 'desc'
    go({ sort: key, order: sort === key && turned !== usual ? turned : '' })
  }

  #draw(isFirst = false) {
    const list = this.#list
    const place = here()
    showControls(place)
    byId('makers-table').hidden = !list || list.makers.length === 0
    for (const id of ['makers-empty', 'makers-legend']) setHidden(byId(id), true)
    if (!list) return
    const ranked = list.makers.map((maker, i) => ({ maker, rank: i + 1 }))
    const found = this.#filtered(ranked, place).sort(inOrder(place))
    const groups = {
      live: found.filter(({ maker }) => maker.reach !== 'down'),
      down: found.filter(({ maker }) => maker.reach === 'down'),
    }
    const focused = document.activeElement?.closest('#makers-table tr')?.getAttribute('data-address')
    const hadButton = document.activeElement?.tagName === 'BUTTON'
    for (const [group, rows] of Object.entries(groups)) this.#drawGroup(group, rows, isFirst)
    setHidden(byId('down-head'), groups.down.length === 0)
    setText(byId('down-note'), `${plural(groups.down.length, 'maker')} down: takers are not told of them`)
    if (focused)
      linkOf(focused)
        ?.closest('tr')
        .querySelector(hadButton ? 'button' : 'a')
        .focus()
    this.#note(ranked, found, groups.down.length, place)
    this.#drawLegend()
    if (ranked.length > 0 && found.length > 0) return
    byId('makers-table').hidden = true
    if (!pastedKind(normal(place.q))) delete byId('makers-empty').dataset.shown
    if (ranked.length === 0) {
      showEmpty(
        byId('makers-empty'),
        'No makers yet',
        'As soon as somebody locks coins and announces an address, a maker appears here by itself.',
      )
    }
    const kind = pastedKind(normal(place.q))
    if (kind) void askWhy(byId('makers-empty'), normal(place.q), kind)
    else if (ranked.length > 0) {
      const what = place.q
        ? `No maker’s address or bond has “${place.q}” in it. Escape clears the search.`
        : 'No maker is like that: let some filter go.'
      showEmpty(byId('makers-empty'), 'Nothing found', what)
    }
  }

  #drawGroup(group, found, isFirst) {
    const rows = found.slice(0, this.#shown[group])
    rowsOf(group).replaceChildren(
      ...rows.map(({ maker, rank }) =>
        makerRow(maker, rank, this.#status, !isFirst && !this.#known.has(maker.address)),
      ),
    )
    const more = byId(`more-${group}`)
    setHidden(more.closest('tr'), found.length <= rows.length)
    setText(more, `Show ${number(Math.min(4 * STEP, found.length - rows.length))} more`)
  }

  #filtered(ranked, place) {
    const word = normal(place.q)
    const wanted = Object.entries(FILTERS).filter(([name]) => place[name])
    return ranked.filter(
      ({ maker }) =>
        wanted.every(([, keeps]) => keeps(maker)) &&
        (place.format === '' || maker.format === place.format) &&
        (maker.address.includes(word) ||
          this.#outpoints.get(maker.address)?.some(({ outpoint }) => outpoint.startsWith(word))),
    )
  }

  #note(ranked, found, down, place) {
    const isNarrowed = found.length < ranked.length || place.q !== ''
    const { height, broken } = this.#list
    const what = isNarrowed
      ? `${number(found.length)} of ${plural(ranked.length, 'maker')} match`
      : plural(ranked.length, 'maker')
    const away = down > 0 ? `, ${number(down)} down` : ''
    const rest = broken.length > 0 ? `; ${plural(broken.length, 'row')} more can’t be shown` : ''
    const note = `${what} with a live bond at block ${number(height)}${away}${rest}`
    setText(byId('makers-note'), ranked.length === 0 ? `No live bond at block ${number(height)}` : note)
    setHidden(byId('clear'), !isNarrowed)
  }

  #drawLegend() {
    const { makers } = this.#list
    const skipped = makers.filter(isSkipped).length
    setHidden(byId('makers-legend'), makers.length === 0)
    setText(byId('value-legend'), VALUE_SENTENCE)
    setText(byId('pick-legend'), PICK_SENTENCE)
    setHidden(byId('today-legend'), skipped === 0)
    setText(
      byId('today-legend'),
      `Not today: ${number(skipped)} of ${plural(makers.length, 'maker')} announce in a way that takers since September 2026 skip; the maker’s page says why.`,
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
}

const rowsOf = (group) => byId(group === 'live' ? 'makers-rows' : 'down-rows')

function linkOf(address) {
  return /** @type {HTMLElement | null} */ (
    document.querySelector(`#makers-table [data-address="${CSS.escape(address)}"] a`)
  )
}

function sortOf({ sort, order }) {
  const key = sort in KEYS ? sort : 'value'
  return { sort: key, isAscending: order === '' ? ASCENDING.has(key) : order === 'asc' }
}

function inOrder(place) {
  const { sort, isAscending } = sortOf(place)
  const of = KEYS[sort]
  const sign = isAscending ? 1 : -1
  return (a, b) => {
    const [x, y] = [of(a.maker), of(b.maker)]
    if (x === y) return a.rank - b.rank
    if (x === undefined) return 1
    if (y === undefined) return -1
    return x < y ? -sign : sign
  }
}

/** What is chosen, as the place has it. */
function showControls(place) {
  const { sort, isAscending } = sortOf(place)
  for (const head of all('#makers-table th[data-key]')) {
    if (head.dataset.key !== sort) head.removeAttribute('aria-sort')
    else head.setAttribute('aria-sort', isAscending ? 'ascending' : 'descending')
  }
  byId('sort-choice').value = sort
  byId('filter-format').value = place.format
  for (const name of Object.keys(FILTERS))
    byId(`filter-${name}`).setAttribute('aria-pressed', String(place[name] !== ''))
  if (byId('search').value !== place.q) byId('search').value = place.q
}

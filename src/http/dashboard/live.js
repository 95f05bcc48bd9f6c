/**
 * Keeps what the page knows true: reads the lists when an event says that something happened, the status now and then,
 * and says when the tracker does not answer. Knows no DOM.
 */

const LIMITS = {
  /** Several events of one block lead to one reading. */
  gatherMs: 150,
  statusMs: 5_000,
  /** While catching up there are no events, and people watch the bar. */
  syncingMs: 1_500,
  /** Without an event stream the lists are read this often. */
  withoutStreamMs: 15_000,
  answerMs: 10_000,
  /** Pages of 1,000 rows of a list that are read at the most. */
  pagesMax: 10,
}

class Refused extends Error {
  constructor(status, code, message) {
    super(message)
    this.status = status
    this.code = code
  }
}

/**
 * Calls `show` with all that is known whenever it has changed: `{status, makers, bonds, history, trackers, relays, refusal, link}`.
 * `link`: 'connecting', 'live', 'polling' or 'offline'; `refusal`: why there are no lists, from the tracker itself.
 */
export function watchTracker(show) {
  const known = { link: 'connecting' }
  let source
  let timer
  let gathering
  let isReading = false
  let isStale = false
  let listsAtMs = 0

  async function read({ withLists }) {
    if (isReading) {
      isStale ||= withLists
      return
    }
    isReading = true
    clearTimeout(timer)
    try {
      known.status = await get('/api/v1/status')
      known.atMs = Date.now()
      const isOld = Date.now() - listsAtMs > LIMITS.withoutStreamMs && known.link !== 'live'
      if (withLists || isOld || known.refusal || !known.makers) await readLists()
      known.link = linkNow()
    } catch (error) {
      if (error instanceof Refused) known.refusal = error
      else known.link = 'offline'
    }
    isReading = false
    show(known)
    if (isStale) {
      isStale = false
      void read({ withLists: true })
    } else plan()
  }

  function linkNow() {
    if (source?.readyState === EventSource.OPEN) return 'live'
    return known.link === 'connecting' && source?.readyState === EventSource.CONNECTING ? 'connecting' : 'polling'
  }

  async function readLists() {
    try {
      const [makers, { bonds }, history, { trackers }, relays] = await Promise.all([
        allPages('/api/v1/makers', 'makers'),
        allPages('/api/v1/bonds', 'bonds'),
        get('/api/v1/history?points=240'),
        get('/api/v1/trackers'),
        get('/api/v1/relays'),
      ])
      Object.assign(known, { makers, bonds, history, trackers, relays, refusal: undefined })
      listsAtMs = Date.now()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      known.refusal = error // what is shown is no longer so: lists are hidden, not kept
      known.makers = known.bonds = known.history = known.trackers = known.relays = undefined
    }
  }

  function plan() {
    clearTimeout(timer)
    if (document.hidden) return
    const isSyncing = known.status && !known.status.synced
    timer = setTimeout(() => read({ withLists: false }), isSyncing ? LIMITS.syncingMs : LIMITS.statusMs)
  }

  function listen() {
    if (source && source.readyState !== EventSource.CLOSED) return
    source = new EventSource('/api/v1/events')
    source.onopen = () => {
      const wasAway = known.link !== 'live'
      known.link = 'live'
      if (wasAway) void read({ withLists: true }) // events of the meantime are lost
    }
    source.onerror = () => {
      if (known.link === 'live') {
        known.link = 'polling'
        void read({ withLists: false }) // tells whether the tracker is gone, or only the stream
      }
    }
    for (const kind of ['block', 'bond', 'maker', 'spend', 'reorg', 'reset']) {
      source.addEventListener(kind, () => {
        clearTimeout(gathering)
        gathering = setTimeout(() => read({ withLists: true }), LIMITS.gatherMs)
      })
    }
  }

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    listen()
    void read({ withLists: true })
  })
  setInterval(listen, LIMITS.withoutStreamMs) // after a refusal (too many streams) the browser does not try again
  listen()
  void read({ withLists: true })
}

/** Throws Refused with the tracker's own words, or whatever `fetch` throws. */
export async function get(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(LIMITS.answerMs), cache: 'no-store' })
  const body = await response.json()
  if (!response.ok) throw new Refused(response.status, body.error?.code, body.error?.message)
  return body
}

/** All pages of a list at one block; begun anew when a block comes in between, a few times at the most. */
async function allPages(path, rows, tries = 3) {
  const gathered = []
  const broken = []
  let after = ''
  let first
  for (let i = 0; i < LIMITS.pagesMax; i++) {
    const page = await get(`${path}?limit=1000${after}`)
    first ??= page
    if (page.block_hash !== first.block_hash && tries > 1) return allPages(path, rows, tries - 1)
    gathered.push(...page[rows])
    broken.push(...page.broken)
    if (page.next === null) break
    after = `&after=${encodeURIComponent(page.next)}`
  }
  return { ...first, [rows]: gathered, broken }
}

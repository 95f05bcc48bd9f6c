/** The plots. Each has a sentence that says the same in words; the canvas itself is for the eye only. */

import { showEmpty } from './dom.js'
import uPlot from './uplot.js'
import { btc, days, median, number, plural, short } from './words.js'

const LOCK_BLOCKS_MAX = 25_920
/** Two weeks. */
const EXPIRY_STEP = 2_016

export class Plots {
  #drawn = new Map()
  #last

  constructor() {
    const again = () => this.#last && this.show(this.#last, true)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again)
    new ResizeObserver(() => {
      for (const [place, { plot }] of this.#drawn) plot.setSize(sizeOf(place))
    }).observe(document.querySelector('.plots'))
  }

  /** `known`: as of live.js; its lists are undefined while there are none. */
  show(known, isAnew = false) {
    this.#last = known
    const { bonds, history, relays, refusal, status } = known
    const waiting = refusal?.code === 'not_synced' ? 'Drawn when the scan has reached the tip.' : 'Nothing to draw yet.'
    /** @type {Record<string, () => any>} */
    const plots = {
      'plot-history': () => history && historyPlot(history),
      'plot-values': () => bonds && valuePlot(bonds),
      'plot-expiry': () => bonds && expiryPlot(bonds),
      'plot-latency': () => history && latencyPlot(history.probes, status),
      'plot-relays': () => relays && relayPlot(relays),
    }
    for (const [id, draw] of Object.entries(plots)) {
      const figure = document.getElementById(id)
      const wanted = draw()
      if (!wanted?.options) this.#clear(figure, wanted?.title ?? 'Not yet', wanted?.text ?? waiting)
      else this.#put(figure, wanted, isAnew)
    }
  }

  #clear(figure, title, text) {
    const place = figure.querySelector('.plot')
    this.#drawn.get(place)?.plot.destroy()
    this.#drawn.delete(place)
    place.hidden = true
    figure.querySelector('[data-note]').textContent = '\u00a0'
    showEmpty(figure.querySelector('.empty'), title, text)
  }

  #put(figure, { options, data, note, readout }, isAnew) {
    const place = figure.querySelector('.plot')
    const noteElement = figure.querySelector('[data-note]')
    const key = JSON.stringify(data)
    place.hidden = false
    figure.querySelector('.empty').hidden = true
    const drawn = this.#drawn.get(place)
    if (drawn) {
      drawn.note = note
      if (drawn.plot.cursor.idx == null) noteElement.textContent = note
    }
    if (drawn?.key === key && !isAnew) return
    noteElement.textContent = note
    drawn?.plot.destroy()
    const entry = { key, note }
    const hooks = {
      setCursor: [
        ({ cursor }) => {
          noteElement.textContent = cursor.idx == null ? entry.note : readout(cursor.idx)
        },
      ],
    }
    entry.plot = new uPlot({ ...options, ...sizeOf(place), hooks }, data, place)
    this.#drawn.set(place, entry)
  }
}

function sizeOf(place) {
  return { width: place.clientWidth, height: place.clientHeight }
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}

function faded(name, percent) {
  return `color-mix(in srgb, ${colour(name)} ${percent}%, transparent)`
}

function axis(options) {
  return {
    stroke: colour('soft'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
    gap: 8,
    size: 30,
    ...options,
  }
}

const countAxis = (options = {}) =>
  axis({
    size: 44,
    incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000],
    space: 44,
    values: (_, ticks) => ticks.map(short),
    ...options,
  })

const shared = () => ({
  legend: { show: false },
  padding: [8, 8, 0, 0],
  cursor: { y: false, drag: { x: false, y: false }, points: { size: 8, fill: colour('accent'), width: 0 } },
})

const fromZero = (_, __, max) => [0, Math.max(1, max * 1.12)]

function historyPlot({ points: all, complete_from: completeFrom, height }) {
  const begin = all.findIndex(({ bonds }) => bonds > 0)
  if (begin < 0) return { title: 'No bonds yet', text: 'The curve begins with the first one.' }
  if (all.length < 2) return { title: plural(all[0].bonds, 'live bond'), text: 'The curve begins with the next block.' }
  // The long nothing before the first bond is cut down to a tenth of what follows.
  const points = all.slice(Math.max(0, begin - 1 - Math.floor((all.length - begin) / 10)))
  const last = points.at(-1)
  const isPartial = completeFrom > points[0].height
  const caveat = isPartial ? ` Before block ${number(completeFrom)}, bonds older than the scan are missing.` : ''
  return {
    note: `${plural(last.bonds, 'live bond')} at block ${number(height)}.${caveat}`,
    readout: (i) => {
      const { bonds, makers, amount, height: at, time } = points[i]
      const day = new Date(time * 1000).toLocaleDateString('en', { dateStyle: 'medium' })
      return `Block ${number(at)}, ${day}: ${plural(bonds, 'bond')} of ${plural(makers, 'maker')}, ${btc(amount)} BTC`
    },
    data: [points.map((point) => point.height), points.map(({ bonds }) => bonds)],
    options: {
      ...shared(),
      scales: { x: { time: false }, y: { range: fromZero } },
      axes: [
        axis({
          grid: { show: false },
          space: 90,
          values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? number(tick) : '')),
        }),
        countAxis(),
      ],
      series: [
        {},
        {
          stroke: colour('accent'),
          width: 2,
          fill: faded('accent', 12),
          paths: uPlot.paths.stepped({ align: 1 }),
          points: { show: false },
        },
      ],
    },
  }
}

/** Bars of equal width with a label each. */
function bars(counts, labels, note, readout) {
  return {
    note,
    readout,
    data: [counts.map((_, i) => i), counts],
    options: {
      ...shared(),
      cursor: { ...shared().cursor, x: false, points: { show: false } },
      scales: { x: { time: false, range: [-0.6, counts.length - 0.4] }, y: { range: fromZero } },
      axes: [
        axis({
          grid: { show: false },
          splits: counts.map((_, i) => i),
          values: (plot) => thinned(labels, plot.width),
        }),
        countAxis(),
      ],
      series: [
        {},
        {
          fill: faded('accent', 82),
          stroke: 'transparent',
          width: 0,
          paths: uPlot.paths.bars({ size: [0.72, 48], radius: 0.18 }),
          points: { show: false },
        },
      ],
    },
  }
}

/** As many labels as fit, the first among them. */
function thinned(labels, width) {
  const every = Math.max(1, Math.ceil((labels.length * 46) / Math.max(1, width - 50)))
  return labels.map((label, i) => (i % every === 0 ? label : ''))
}

function valuePlot(live) {
  const values = live.map(({ value }) => value)
  if (values.length === 0) return { title: 'No bonds', text: 'Values are drawn when a bond is live.' }
  const positive = values.filter((value) => value > 0)
  const none = values.length - positive.length
  // Half decades: 1, 3.2, 10, 32 …
  const binOf = (value) => Math.floor(2 * Math.log10(value))
  const low = positive.length > 0 ? binOf(Math.min(...positive)) : 0
  const high = positive.length > 0 ? binOf(Math.max(...positive)) : 0
  const edge = (bin) => 10 ** (bin / 2)
  const counts = Array.from({ length: high - low + 1 }, () => 0)
  for (const value of positive) counts[binOf(value) - low]++
  const without = none > 0 ? ` ${plural(none, 'bond')} without a value.` : ''
  const text = `Median ${number(median(values))}, highest ${number(Math.max(...values))}.${without}`
  const labels = counts.map((_, i) => short(edge(low + i)))
  return bars(counts, labels, text, (i) => {
    return `${plural(counts[i], 'bond')} from ${short(edge(low + i))} to ${short(edge(low + i + 1))}`
  })
}

function expiryPlot(live) {
  if (live.length === 0) return { title: 'No bonds', text: 'Lock ends are drawn when a bond is live.' }
  const counts = Array.from({ length: Math.ceil((LOCK_BLOCKS_MAX + 1) / EXPIRY_STEP) }, () => 0)
  for (const { blocks_left: left } of live) counts[Math.min(counts.length - 1, Math.floor(left / EXPIRY_STEP))]++
  const soon = live.filter(({ blocks_left: left }) => left < 2 * EXPIRY_STEP).length
  const labels = counts.map((_, i) => `${2 * i} w`)
  const text = soon === 0 ? 'None within four weeks.' : `${plural(soon, 'bond')} within four weeks.`
  return bars(counts, labels, text, (i) => {
    return `${plural(counts[i], 'bond')} in ${2 * i} to ${2 * i + 2} weeks (${number(days(i * EXPIRY_STEP))} to ${number(days((i + 1) * EXPIRY_STEP))} days)`
  })
}

/** What part of the bonds that takers should find is announced at each relay, hour by hour. */
function relayPlot({ relays, history }) {
  if (relays.length === 0) return undefined
  const times = [...new Set(history.map(({ time }) => time))].sort((a, b) => a - b)
  if (times.length < 2) return { title: 'Nothing to compare yet', text: 'The curves begin with the second hour.' }
  const share = ({ announced, missing }) =>
    announced + missing === 0 ? undefined : (100 * announced) / (announced + missing)
  const lines = relays.map(({ url }) => {
    const own = new Map(history.flatMap((point) => (point.url === url ? [[point.time, share(point)]] : [])))
    return times.map((time) => own.get(time) ?? null)
  })
  const host = ({ url }) => url.replace(/^wss?:\/\//, '')
  const percent = (value) => (value == null ? 'not known' : `${Math.floor(value)} %`)
  const told = (i) => relays.map((relay, at) => `${host(relay)}: ${percent(lines[at][i])}`).join(', ')
  return {
    note: `Of the bonds that takers should find, ${told(times.length - 1)}.`,
    readout: (i) => `${dayTime(times[i])}: ${told(i)}`,
    data: [times, ...lines],
    options: {
      ...shared(),
      scales: { y: { range: () => [0, 104] } },
      axes: [
        axis({ grid: { show: false }, space: 100, values: (_, ticks) => ticks.map(dayTime) }),
        axis({ size: 50, values: (_, ticks) => ticks.map((tick) => `${tick} %`) }),
      ],
      series: [
        {},
        ...relays.map((_, at) => ({
          stroke: faded('accent', 100 - (60 * at) / relays.length),
          width: 2,
          dash: at % 2 === 0 ? undefined : [4, 4],
          points: { show: false },
        })),
      ],
    },
  }
}

/** Of Unix seconds, in the reader's own zone. */
function clockTime(timeS) {
  return new Date(timeS * 1000).toLocaleTimeString('en-GB', { timeStyle: 'short' })
}

function dayTime(timeS) {
  const day = new Date(timeS * 1000).toLocaleDateString('en', { month: 'short', day: 'numeric' })
  return `${day}, ${clockTime(timeS)}`
}

/** Ten minutes at the end of which each step of `probes` stands. */
const STEP_S = 600

/** Probes that were not answered after the step that ended at `timeS`, in words; nothing without any. */
function silence(probes, timeS) {
  const silent = probes.filter(({ time }) => time > timeS)
  const failed = silent.reduce((sum, step) => sum + step.failed, 0)
  return failed === 0 ? '' : `${plural(failed, 'probe')} since ${clockTime(silent[0].time - STEP_S)}, and no answer.`
}

function latencyPlot(probes, { onion }) {
  const answered = probes.filter(({ median_ms: ms }) => ms !== null)
  const last = answered.at(-1)
  if (!last && probes.length > 0) return { title: 'No maker answers', text: silence(probes, 0) }
  if (!last && onion.canary && onion.canary.state !== 'green') {
    return { title: 'Nothing known', text: 'While our own way through Tor does not work, probes say nothing.' }
  }
  if (!last) return { title: 'Nothing probed', text: 'How quickly makers answer is drawn once they are asked.' }
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`
  if (answered.length < 2) {
    const since = silence(probes, last.time) || 'Drawn from the second ten minutes on.'
    const text = `95 of 100 answer within ${seconds(last.p95_ms)}. ${since}`
    return { title: `Median ${seconds(last.median_ms)}`, text }
  }
  return {
    note: `Median ${seconds(last.median_ms)}, 95 of 100 within ${seconds(last.p95_ms)}. ${silence(probes, last.time)}`,
    readout: (i) => {
      const { time, median_ms, p95_ms, answered: ok, failed } = answered[i]
      return `${clockTime(time)}: median ${seconds(median_ms)}, 95 of 100 within ${seconds(p95_ms)}; ${ok} answered, ${failed} not`
    },
    data: [
      answered.map(({ time }) => time),
      answered.map(({ median_ms }) => median_ms / 1000),
      answered.map(({ p95_ms }) => p95_ms / 1000),
    ],
    options: {
      ...shared(),
      scales: { y: { range: (_, __, max) => [0, max * 1.12] } },
      axes: [
        axis({ grid: { show: false }, space: 80, values: (_, ticks) => ticks.map(clockTime) }),
        axis({ size: 44, values: (_, ticks) => ticks.map((tick) => `${tick} s`) }),
      ],
      series: [
        {},
        { stroke: colour('accent'), width: 2, points: { show: false } },
        { stroke: faded('accent', 45), width: 1.5, dash: [4, 4], points: { show: false } },
      ],
    },
  }
}

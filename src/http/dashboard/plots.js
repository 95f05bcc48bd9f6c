/** The plots. Each has a sentence that says the same in words; the canvas itself is for the eye only. */

import { showEmpty } from './dom.js'
import { VALUE_UNIT } from './maker-words.js'
import uPlot from './uplot.js'
import { btc, clockTime, dateIn, dateOf, days, latency, median, number, plural, short } from './words.js'

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
    const { bonds, history, relays, status } = known
    /** @type {Record<string, () => any>} */
    const plots = {
      'plot-history': () => history && historyPlot(history),
      'plot-values': () => bonds && valuePlot(bonds),
      'plot-expiry': () => bonds && expiryPlot(bonds, status),
      'plot-latency': () => history && latencyPlot(history.probes),
      'plot-relays': () => relays && relayPlot(relays),
    }
    for (const [id, draw] of Object.entries(plots)) {
      const figure = document.getElementById(id)
      const wanted = draw()
      figure.hidden = !wanted // a place with nothing in it is no news
      if (wanted?.options) this.#put(figure, wanted, isAnew)
      else this.#clear(figure, wanted)
    }
  }

  /** `told`: what there is to say instead of a curve. */
  #clear(figure, told) {
    const place = figure.querySelector('.plot')
    this.#drawn.get(place)?.plot.destroy()
    this.#drawn.delete(place)
    place.hidden = true
    figure.querySelector('[data-note]').textContent = ''
    if (told) showEmpty(figure.querySelector('.empty'), told.title, told.text)
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

/** Steps between ticks. */
const ROUND = [1, 10, 100, 1_000, 10_000, 100_000].flatMap((power) => [power, 2 * power, 5 * power])

const countAxis = (options = {}) =>
  axis({
    size: 44,
    incrs: ROUND,
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
  if (begin < 0 || all.length < 2) return undefined
  // The long nothing before the first bond is cut down to a tenth of what follows.
  const points = all.slice(Math.max(0, begin - 1 - Math.floor((all.length - begin) / 10)))
  const last = points.at(-1)
  const isPartial = completeFrom > points[0].height
  const caveat = isPartial ? ` Before block ${number(completeFrom)}, bonds older than the scan are missing.` : ''
  return {
    note: `${plural(last.bonds, 'live bond')} at block ${number(height)}, ${dateOf(last.time)}.${caveat}`,
    readout: (i) => {
      const { bonds, makers, amount, height: at, time } = points[i]
      return `Block ${number(at)}, ${dateOf(time)}: ${plural(bonds, 'bond')} of ${plural(makers, 'maker')}, ${btc(amount)} BTC`
    },
    data: [points.map((point) => point.height), points.map(({ bonds }) => bonds)],
    options: {
      ...shared(),
      padding: [8, 44, 0, 0],
      scales: { x: { time: false }, y: { range: fromZero } },
      axes: [
        axis({
          grid: { show: false },
          space: 110,
          size: 44,
          incrs: ROUND,
          values: (_, ticks) => ticks.map((tick) => `${number(tick)}\n${dateOf(timeAt(points, tick))}`),
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

/** About when block `height` came, by the points around it. */
function timeAt(points, height) {
  const after = points.findIndex((point) => point.height >= height)
  if (after <= 0) return points.at(after).time
  const [from, to] = [points[after - 1], points[after]]
  return from.time + ((to.time - from.time) * (height - from.height)) / (to.height - from.height)
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

/** 1, 2, 5, 10, 20, 50 …: the `i`th of them. */
const edge = (i) => [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3)

/** The last edge that is not above `value`, which is at least 1. */
function binOf(value) {
  let bin = 3 * Math.floor(Math.log10(value))
  while (edge(bin + 1) <= value) bin++
  return bin
}

function valuePlot(live) {
  const values = live.map(({ value }) => value)
  if (values.length === 0) return undefined
  const positive = values.filter((value) => value >= 1)
  const none = values.length - positive.length
  const low = positive.length > 0 ? binOf(Math.min(...positive)) : 0
  const high = positive.length > 0 ? binOf(Math.max(...positive)) : 0
  const counts = Array.from({ length: high - low + 1 }, () => 0)
  for (const value of positive) counts[binOf(value) - low]++
  const without = none > 0 ? ` ${plural(none, 'bond')} without a value, as no lock is announced.` : ''
  const text = `Median ${short(median(values))}, highest ${short(Math.max(...values))} ${VALUE_UNIT}.${without}`
  const labels = counts.map((_, i) => short(edge(low + i)))
  return bars(counts, labels, text, (i) => {
    return `${plural(counts[i], 'bond')} with a value of ${short(edge(low + i))} to ${short(edge(low + i + 1))} ${VALUE_UNIT}`
  })
}

function expiryPlot(live, status) {
  if (live.length === 0) return undefined
  const counts = Array.from({ length: Math.ceil((LOCK_BLOCKS_MAX + 1) / EXPIRY_STEP) }, () => 0)
  for (const { blocks_left: left } of live) counts[Math.min(counts.length - 1, Math.floor(left / EXPIRY_STEP))]++
  const first = Math.min(...live.map(({ blocks_left: left }) => left))
  const soon = live.filter(({ blocks_left: left }) => left < 2 * EXPIRY_STEP).length
  const labels = counts.map((_, i) => (i === 0 ? 'now' : `${2 * i} wk`))
  const when = `the first in ${plural(first, 'block')}, about ${dateIn(first, status)}`
  const text = soon === 0 ? `None within four weeks; ${when}.` : `${plural(soon, 'bond')} within four weeks; ${when}.`
  return bars(counts, labels, text, (i) => {
    const [from, to] = [i * EXPIRY_STEP, (i + 1) * EXPIRY_STEP]
    return `${plural(counts[i], 'bond')} in ${2 * i} to ${2 * i + 2} weeks: ${number(days(from))} to ${number(days(to))} days, ${number(from)} to ${number(to)} blocks`
  })
}

/** What part of the bonds that takers should find is announced at each relay, hour by hour. */
function relayPlot({ relays, history }) {
  if (relays.length === 0) return undefined
  const times = [...new Set(history.map(({ time }) => time))].sort((a, b) => a - b)
  if (times.length < 2) return undefined
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
        axis({ size: 50, incrs: ROUND, values: (_, ticks) => ticks.map((tick) => `${tick} %`) }),
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

function dayTime(timeS) {
  const day = new Date(timeS * 1000).toLocaleDateString('en-GB', { month: 'short', day: 'numeric' })
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

function latencyPlot(probes) {
  const answered = probes.filter(({ median_ms: ms }) => ms !== null)
  const last = answered.at(-1)
  if (!last && probes.length > 0) return { title: 'No maker answers', text: silence(probes, 0) }
  if (!last) return undefined
  if (answered.length < 2) {
    const since = silence(probes, last.time) || 'Drawn from the second ten minutes on.'
    const text = `95 of 100 answer within ${latency(last.p95_ms)}. ${since}`
    return { title: `Median ${latency(last.median_ms)}`, text }
  }
  return {
    note: `Median ${latency(last.median_ms)}, 95 of 100 within ${latency(last.p95_ms)}. ${silence(probes, last.time)}`,
    readout: (i) => {
      const { time, median_ms, p95_ms, answered: ok, failed } = answered[i]
      return `${clockTime(time)}: median ${latency(median_ms)}, 95 of 100 within ${latency(p95_ms)}; ${ok} answered, ${failed} not`
    },
    data: [
      answered.map(({ time }) => time),
      answered.map(({ median_ms }) => median_ms),
      answered.map(({ p95_ms }) => p95_ms),
    ],
    options: {
      ...shared(),
      scales: { y: { range: (_, __, max) => [0, max * 1.12] } },
      axes: [
        axis({ grid: { show: false }, space: 80, values: (_, ticks) => ticks.map(clockTime) }),
        axis({
          size: 56,
          incrs: ROUND,
          values: (_, ticks) => ticks.map((tick) => (tick % 1000 === 0 ? `${tick / 1000} s` : latency(tick))),
        }),
      ],
      series: [
        {},
        { stroke: colour('accent'), width: 2, points: { show: false } },
        { stroke: faded('accent', 45), width: 1.5, dash: [4, 4], points: { show: false } },
      ],
    },
  }
}

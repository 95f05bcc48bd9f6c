/** Small drawings beside sentences that say the same: they are for the eye, and scale with their place. */

const SVG = 'http://www.w3.org/2000/svg'

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  element.append(...children)
  return element
}

function strip(className, width, height, ...children) {
  return draw(
    'svg',
    {
      class: `strip ${className}`,
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    },
    ...children,
  )
}

/** How high the strips are drawn; the page scales them. */
const HEIGHT = 100

/** A bar for every three hours of the last `hours`: as high as the share that was answered, its ground where none was. */
export function reachStrip(hours, total, nowS) {
  const wide = 3
  const first = Math.floor(nowS / 3600) - total + 1
  const bars = new Map()
  for (const { time, answered, failed } of hours) {
    const at = Math.floor((Math.floor(time / 3600) - first) / wide)
    const bar = bars.get(at) ?? { answered: 0, failed: 0 }
    bars.set(at, { answered: bar.answered + answered, failed: bar.failed + failed })
  }
  const shapes = [...bars].flatMap(([at, { answered, failed }]) => {
    if (answered + failed === 0 || at < 0) return []
    const share = answered / (answered + failed)
    const high = Math.round(HEIGHT * share)
    const place = { x: at + 0.1, width: 0.8 }
    const whole = draw('rect', { class: 'silent', ...place, y: 0, height: HEIGHT - high })
    return [
      ...(high < HEIGHT ? [whole] : []),
      draw('rect', { class: 'answered', ...place, y: HEIGHT - high, height: high }),
    ]
  })
  return strip('reach', total / wide, HEIGHT, ...shapes)
}

/** One after the other, the last at the right; the slowest reaches the top. */
export function latencyStrip(times) {
  const most = Math.max(...times)
  const points = times.map((ms, i) => `${i},${(HEIGHT - (HEIGHT * 0.94 * ms) / most).toFixed(1)}`)
  const line = draw('polyline', { points: points.join(' '), 'vector-effect': 'non-scaling-stroke' })
  const under = draw('polygon', { points: `0,${HEIGHT} ${points.join(' ')} ${times.length - 1},${HEIGHT}` })
  return strip('latency', times.length - 1, HEIGHT, under, line)
}

/** Steps of `values` at `places`, both from the least to the most, from 0 up. */
export function stepStrip(places, lines) {
  const most = Math.max(1, ...lines.flat())
  const [first, last] = [places[0], places.at(-1)]
  const x = (place) => ((1000 * (place - first)) / Math.max(1, last - first)).toFixed(1)
  const y = (value) => (HEIGHT - (HEIGHT * 0.94 * value) / most).toFixed(1)
  const shapes = lines.map((values, at) =>
    draw('polyline', {
      class: `line-${at}`,
      points: values.map((value, i) => `${x(places[i])},${y(value)}`).join(' '),
      'vector-effect': 'non-scaling-stroke',
    }),
  )
  return strip('steps', 1000, HEIGHT, ...shapes)
}

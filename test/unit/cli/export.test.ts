/** The export: CSV that every reader takes apart again and no spreadsheet runs, JSON that is the rows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asSats } from '../../../src/chain/types.ts'
import { exportRows } from '../../../src/cli/export.ts'
import { EXPORT_NOUNS } from '../../../src/cli/export-words.ts'
import { bondRows } from '../../../src/views/bonds.ts'
import { makerRows } from '../../../src/views/makers.ts'
import { trackerRows } from '../../../src/views/trackers.ts'
import { aBond, spentAt, txidOf } from '../../support/bonds.ts'
import { factsOf } from '../../support/facts.ts'
import { aRelay, aTalkativeRelay } from '../../support/relays.ts'

/** RFC 4180, character by character; throws where a text is none. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  for (let at = 0; at < text.length; ) {
    const cell = /"((?:[^"]|"")*)"|[^",\r\n]*/y
    cell.lastIndex = at
    const [whole, quoted] = cell.exec(text)!
    rows.at(-1)!.push(quoted === undefined ? whole : quoted.replaceAll('""', '"'))
    at += whole.length
    if (text[at] === ',') at++
    else if (text.startsWith('\r\n', at)) {
      at += 2
      rows.push([])
    } else throw new Error(`neither comma nor line end after ${JSON.stringify(text.slice(0, at))}`)
  }
  assert.deepEqual(rows.pop(), [], 'the last line ends, too')
  return rows
}

/** A tracker that said this; `failure` and `version` are a stranger's texts. */
const saying = (failure: string) =>
  factsOf({
    trackers: [{ address: 't.onion:8080', source: 'learnt', addedS: 1, failures: 1, failure, version: failure }],
  })

function written(failure: string): string {
  const [head, row, ...others] = parseCsv(exportRows(saying(failure), 'csv', 'trackers'))
  assert.deepEqual(others, [])
  assert.equal(row!.length, head!.length)
  assert.equal(row![head!.indexOf('version')], row![head!.indexOf('failure')])
  return row![head!.indexOf('failure')]!
}

test('commas, quotes and line ends in a value are the value’s', () => {
  const texts = [
    'plain',
    '',
    'a,b',
    'say "no"',
    '"',
    '""',
    'a\r\nb',
    'a\nb',
    'a\rb',
    'a,"b"\r\n',
    'ends with,',
    'a  b ',
    'ü €',
  ]
  for (const text of texts) assert.equal(written(text), text)
  assert.match(exportRows(saying('a,"b"'), 'csv', 'trackers'), /,"a,""b"""\r\n$/)
})

test('what a spreadsheet would run is text', () => {
  const texts = [
    '=1+1',
    '+1',
    '-1',
    '@SUM(A1)',
    '\t=1',
    '\r=1',
    '\n=1',
    '=cmd|"/c calc",1',
    '=HYPERLINK("x","y")\r\n=1',
  ]
  for (const text of texts) assert.equal(written(text), `'${text}`)
  for (const text of ['a=1', 'a\t=1', '1-1', ' ']) assert.equal(written(text), text)
})

const MAKER = 'maker.onion:21'
const full = factsOf({
  bonds: [
    aBond({ amountSats: asSats(2_099_999_997_690_000) }),
    aBond({ outpoint: { txid: txidOf(2), vout: 7 }, spentBy: spentAt(100_050) }),
    aBond({ outpoint: { txid: txidOf(3), vout: 0 }, lockHeight: undefined, format: 'A', address: 'silent.onion:21' }),
  ],
  records: { [MAKER]: { address: MAKER, lastProbeMs: 1, failures: 0, protocols: ['Legacy', '=Taproot'] } },
  lives: {
    [MAKER]: {
      reach: 'up',
      lastUpS: 1_700_000_000,
      day: { answered: 0, observed: 3 },
      month: { answered: 1, observed: 3 },
    },
  },
  offers: {
    [MAKER]: {
      baseFeeSats: 0,
      amountFeePct: 0.0025,
      timeFeePct: 1e-7,
      requiredConfirms: 1,
      lockBlocksMin: 10,
      amountSatsMin: 10_000,
      amountSatsMax: 2_100_000_000_000_000,
      atMs: 1_700_000_000_000,
      lightning: {
        terms: { swapIn: true, swapOut: false, baseFeeSats: 1, amountFeePct: 0.1, amountSatsMin: 1, swapInSatsMax: 9 },
      },
    },
  },
  trackers: [
    {
      address: 't.onion:8080',
      source: 'configured',
      addedS: 1,
      failures: 0,
      digest: Buffer.alloc(32, 0xab),
      compared: {
        agrees: false,
        height: 5,
        onlyOurs: [
          { txid: txidOf(1), vout: 0 },
          { txid: txidOf(2), vout: 1 },
        ],
        onlyTheirs: [],
      },
    },
  ],
  relays: [aTalkativeRelay([txidOf(1), txidOf(2)]), aRelay({ url: 'ws://other.example:8000' })],
})
const ROWS = { bonds: bondRows(full), makers: makerRows(full), trackers: trackerRows(full), relays: full.relays.rows() }

/** Field by field, those of an object in an object under both names. */
function flat(row: object): [string, unknown][] {
  return Object.entries(row).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? flat(value).map(([inner, cell]): [string, unknown] => [`${name}_${inner}`, cell])
      : [[name, value]],
  )
}

for (const noun of EXPORT_NOUNS) {
  test(`${noun} as CSV: a column for each field of a row that lacks nothing, a line for each row, every value as it is`, () => {
    const [head, ...lines] = parseCsv(exportRows(full, 'csv', noun))
    const longest = ROWS[noun].map(flat).sort((a, b) => b.length - a.length)[0]!
    assert.deepEqual(
      head,
      longest.map(([name]) => name),
    )
    assert.equal(lines.length, ROWS[noun].length)
    for (const [i, line] of lines.entries()) {
      const fields = new Map(flat(ROWS[noun][i]!))
      for (const [column, cell] of line.entries()) {
        const value: unknown = fields.get(head![column]!) ?? null
        if (typeof value === 'number') assert.deepEqual([Number(cell), cell], [value, String(value)])
        else assert.equal(cell, Array.isArray(value) ? value.join(' ') : value === null ? '' : String(value))
      }
    }
  })
}

test('CSV of nothing is its head; bonds unless another noun is named', () => {
  assert.equal(parseCsv(exportRows(factsOf({}), 'csv')).length, 1)
  assert.equal(exportRows(full, 'csv'), exportRows(full, 'csv', 'bonds'))
})

test('JSON is the rows under their noun, and the block they are of', () => {
  const tip = { network: 'main', height: 100_100, block_hash: full.chain.tip()!.hash, scanned_from: 0 }
  const { digest, ...all } = JSON.parse(exportRows(full, 'json'))
  assert.match(digest, /^[0-9a-f]{64}$/)
  assert.deepEqual(all, { ...tip, ...ROWS })
  for (const noun of EXPORT_NOUNS) {
    assert.deepEqual(JSON.parse(exportRows(full, 'json', noun)), { ...tip, digest, [noun]: ROWS[noun] })
  }
  assert.ok(exportRows(full, 'json').endsWith('}\n'))
})

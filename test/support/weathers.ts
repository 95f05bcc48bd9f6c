/** Everything that may come in place of bitcoind's answer, as fates of exchanges by name. */
import { type Answer, type Asked, type Fate, jsonAnswer, refusal } from './node-line.ts'

type Weather = (asked: Asked) => Fate
interface Envelope {
  result: unknown
  error: unknown
  id: unknown
}

const STATUSES = [204, 206, 301, 302, 307, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 418, 421, 425, 429, 431]
const SERVER_STATUSES = [500, 501, 502, 503, 504, 505, 507, 508, 520, 521, 522, 524, 526, 530, 599]
const CODES = [-1, -2, -3, -4, -5, -7, -8, -9, -10, -20, -22, -25, -26, -27, -28, -29, -30, -31, -32, -33, -34]
const PROTOCOL_CODES = [-32600, -32601, -32602, -32603, -32700, 0, 1, 401, 403, 404, 503]

const HTML = '<html><head><title>oops</title></head><body>Sign in to your node</body></html>'
/** Somewhere that answers nobody: whoever follows it there is found out. */
const ELSEWHERE = 'http://127.0.0.1:9/'

const says = (status: number, body: string, headers: Record<string, string> = {}): Weather => {
  return () => ({ say: { status, body: Buffer.from(body), headers: { 'content-type': 'text/html', ...headers } } })
}

const isRpc = ({ calls }: Asked) => calls.length > 0

/** Changes the replies, one or those of a batch; what is no RPC passes. */
const replies = (change: (replies: Envelope[]) => unknown): Weather => {
  return (asked) =>
    isRpc(asked)
      ? {
          change: ({ status, body }: Answer) => {
            const all = JSON.parse(body.toString()) as Envelope | Envelope[]
            const changed = change([all].flat())
            return jsonAnswer(status, Array.isArray(all) || !Array.isArray(changed) ? changed : changed[0])
          },
        }
      : undefined
}
const results = (change: (result: unknown) => unknown): Weather =>
  replies((all) => all.map((one) => ({ ...one, result: change(one.result) })))

/** Changes one field of getblockchaininfo. */
const chainInfo = (field: string, value: unknown): Weather => {
  return (asked) =>
    asked.calls[0]?.method === 'getblockchaininfo'
      ? results((result) => ({ ...(result as object), [field]: value }))(asked)
      : undefined
}

const isHex = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{2,}$/.test(value)
/** Changes every result that is hex. */
const hexes = (change: (hex: string) => string): Weather =>
  results((result) => (isHex(result) ? change(result) : result))
const bodies = (change: (body: Buffer) => Buffer): Weather => {
  return () => ({ change: (answer) => ({ ...answer, body: change(answer.body) }) })
}

export const WEATHERS: Record<string, Weather> = {
  ...Object.fromEntries(
    [...STATUSES, ...SERVER_STATUSES].map((status) => [
      `HTTP ${status}`,
      says(status, status === 204 ? '' : HTML, status >= 300 && status < 400 ? { location: ELSEWHERE } : {}),
    ]),
  ),
  'HTTP 200 with a page': says(200, HTML),
  'HTTP 200 with nothing': says(200, ''),
  ...Object.fromEntries(
    ['null', 'true', '7', '"text"', '{}', '[]', '[null]', '{"result":', '\u0000\u0001\u0002\ud83d\ude00'].map(
      (body) => [`HTTP 200 with ${JSON.stringify(body)}`, says(200, body, { 'content-type': 'application/json' })],
    ),
  ),
  ...Object.fromEntries(
    [...CODES, ...PROTOCOL_CODES].map((code): [string, Weather] => [
      `code ${code}`,
      (asked) => (isRpc(asked) ? { say: refusal(asked, code, `a refusal \u001b[31m with code ${code}`) } : undefined),
    ]),
  ),
  ...Object.fromEntries(
    [...CODES, ...PROTOCOL_CODES].map((code): [string, Weather] => [
      `code ${code} within a batch`,
      replies((all) => all.map((one, i) => (i === 0 ? { ...one, result: null, error: { code, message: 'so' } } : one))),
    ]),
  ),
  'an error without a code': replies((all) => all.map((one) => ({ ...one, result: null, error: 'no' }))),
  'a code that is text': replies((all) => all.map((one) => ({ ...one, result: null, error: { code: 'no' } }))),
  'replies cut in half': () => 'cut',
  'connections reset': () => 'reset',
  'no answer': () => 'hang',
  'a body without an end': () => 'endless',
  'a body longer than any': says(200, 'x', { 'content-length': '5000000000' }),
  'a body cut and called whole': bodies((body) => body.subarray(0, body.length / 2)),
  'bytes after the body': bodies((body) => Buffer.concat([body, Buffer.alloc(300, 0x20), Buffer.from('}x')])),
  'the id of another question': replies((all) => all.map((one) => ({ ...one, id: 'another' }))),
  'no id': replies((all) => all.map(({ result, error }) => ({ result, error }))),
  'a batch in another order': replies((all) => all.reverse()),
  'a batch without its last reply': replies((all) => (all.length > 1 ? all.slice(0, -1) : all)),
  'a reply too many': replies((all) => [...all, ...all]),
  'results of the next question': replies((all) =>
    all.map((one, i) => ({ ...one, result: all[(i + 1) % all.length]!.result })),
  ),
  ...Object.fromEntries(
    [null, 7, -1, 1e300, true, '', 'text', [], [null], [7], {}, { hash: 7 }].map((value) => [
      `results that are ${JSON.stringify(value)}`,
      results(() => value),
    ]),
  ),
  'hex of odd length': hexes((hex) => hex.slice(0, -1)),
  'hex that is none': hexes((hex) => `${hex.slice(0, -2)}zz`),
  'hex cut at a byte': hexes((hex) => hex.slice(0, -2)),
  'other bytes': hexes((hex) => hex.replace(/^../, 'ff')),
  'a bit of the body changed': bodies((body) => flipped(body, body.length >> 1)),
  ...Object.fromEntries(
    (
      [
        ['blocks', -1],
        ['blocks', 1.5],
        ['blocks', 'many'],
        ['blocks', 2 ** 40],
        ['headers', null],
        ['bestblockhash', ''],
        ['bestblockhash', '00'.repeat(32)],
        ['initialblockdownload', 'no'],
        ['initialblockdownload', true],
        ['pruned', 1],
        ['pruneheight', -5],
        ['pruneheight', 1e9],
        ['chain', ''],
        ['chain', 'main'],
        ['time', 'now'],
      ] as const
    ).map(([field, value]) => [`${field} ${JSON.stringify(value)}`, chainInfo(field, value)]),
  ),
}

export function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  if (at < changed.length) changed[at]! ^= 1
  return changed
}

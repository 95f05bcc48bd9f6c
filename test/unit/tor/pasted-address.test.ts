/** Onion addresses as people paste them, and what is wrong with those that are none. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onionAddressFault, tidyAddress } from '../../../src/tor/pasted-address.ts'
import { onionHost } from '../../support/onions.ts'

const HOST = onionHost('maker')
const LABEL = HOST.replace('.onion', '')

test('what stands around an address is taken off, and the address stays', () => {
  for (const pasted of [
    `${HOST}:21`,
    `  ${HOST}:21\n`,
    `http://${HOST}:21`,
    `HTTPS://${HOST.toUpperCase()}:21/`,
    `http://${HOST}:21/index.html?a=b#c`,
    `<${HOST}:21>`,
    `"${HOST}:21",`,
    `“${HOST}:21”.`,
    `[${HOST}:21](http://${HOST}:21/)`,
    `\u200b${HOST.slice(0, 20)}\u200b${HOST.slice(20)}:21\ufeff`,
    `${HOST.slice(0, 30)}\n   ${HOST.slice(30)}:21`,
    `${HOST.replace('.onion', '．onion')}：２１`,
    `${HOST}.:21`,
    `${HOST}:21#912345`,
  ]) {
    assert.equal(tidyAddress(pasted), `${HOST}:21`, pasted)
  }
  for (const [pasted, tidied] of [
    [`${LABEL}#912345`, LABEL],
    [`${HOST}#912345`, HOST],
    [`http://${HOST}/`, HOST],
    [`${HOST}.`, HOST],
    [`${HOST}:`, HOST],
    ['127.0.0.1:6102', '127.0.0.1:6102'],
    ['', ''],
    ['x'.repeat(1_000_000), 'x'.repeat(2_000)],
  ] as const) {
    assert.equal(tidyAddress(pasted), tidied)
  }
})

test('what is none is told apart: length, letters, checksum, version 2, port', () => {
  const wrong = (LABEL.startsWith('a') ? 'b' : 'a') + LABEL.slice(1)
  for (const [tidied, says] of [
    ['', /nothing where the name should be/],
    [`${LABEL.slice(1)}.onion:21`, /has 55 characters, not 56/],
    [`${wrong}.onion`, /checksum says that at least one of them is wrong/],
    [`0${LABEL.slice(1)}.onion`, /a to z and 2 to 7 alone, and here is 0$/],
    [`é${LABEL.slice(1)}`, /here is one that is not ASCII$/],
    ['abcdefghij234567.onion', /version 2/],
    [`www.${HOST}`, /something before it/],
    ['example.com', /no onion name/],
    [`${HOST}:0`, /what follows is no port/],
  ] as const) {
    assert.match(onionAddressFault(tidied), says, tidied)
  }
})

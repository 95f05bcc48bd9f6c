/** What a transaction lacks that announces no bond; and that what is read as an announcement has no such fault. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { announcementScript, parseAnnouncementText } from '../../../src/bonds/announcement.ts'
import { announcementFaults, announcementTextFault } from '../../../src/bonds/announcement-faults.ts'
import { onionHost } from '../../support/onions.ts'

const LABEL = onionHost('maker').replace('.onion', '')
const GOOD = announcementScript(`${LABEL}#910000`)
const BOND = Buffer.concat([Buffer.of(0, 32), Buffer.alloc(32)])

function faults(scripts: readonly Uint8Array[], locktime = 900_000): string {
  const outs = scripts.map((script) => ({ script, value: 0n }))
  return announcementFaults({ locktime, outs } as Parameters<typeof announcementFaults>[0]).join('; ')
}

test('an announcement has no fault, and everything that it may lack is named', () => {
  assert.equal(faults([BOND, GOOD]), '')
  assert.match(faults([BOND, GOOD], 0), /^its nLockTime is 0/)
  assert.match(faults([GOOD]), /a single output/)
  assert.match(faults([BOND, GOOD, BOND, BOND, BOND, BOND]), /6 outputs/)
  assert.match(faults([BOND, BOND]), /none of its outputs is OP_RETURN/)
  assert.match(faults([BOND, Buffer.concat([GOOD, GOOD.subarray(1)])]), /output 1 is OP_RETURN, but not .* one push/)
  assert.match(faults([BOND, announcementScript(LABEL)]), /output 1 says "\w{56}": #<lock height> is missing/)
})

test('a text has a fault exactly where it is not read', () => {
  const wrong = (LABEL.startsWith('a') ? 'b' : 'a') + LABEL.slice(1)
  for (const [text, says] of [
    [`${LABEL}#1`, undefined],
    [`${LABEL}.onion#1`, undefined],
    [`${LABEL}.onion:21`, undefined],
    [`${LABEL}.onion:21#4294967295`, undefined],
    [LABEL, /#<lock height> is missing/],
    [`${LABEL}.onion`, /#<lock height> is missing/],
    [`${LABEL}#`, /no number/],
    [`${LABEL}#-5`, /no number/],
    [`${LABEL}#4294967296`, /no number/],
    [`${LABEL}:21#5`, /port stands behind \.onion alone/],
    [`${LABEL}.onion:0#5`, /port/],
    [`${LABEL}.onion:021`, /port/],
    [`${LABEL.toUpperCase()}#5`, /small letters/],
    [`${wrong}#5`, /checksum/],
    [`${LABEL.slice(1)}#5`, /55 characters/],
    ['hello', /5 characters, not 56|alone, and here is/],
    ['', /no <56 characters>#<lock height>/],
    [`${LABEL}#5\u001b[2J`, /no number/],
  ] as const) {
    const fault = announcementTextFault(text)
    assert.equal(fault === undefined, parseAnnouncementText(text, { allowTestAddresses: false }) !== undefined, text)
    if (says === undefined) assert.equal(fault, undefined)
    else assert.match(fault!, says, text)
    assert.match(fault ?? ' ', /^[\x20-\x7e]+$/, 'fit for a terminal')
  }
})

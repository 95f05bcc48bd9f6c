/** A word that isn't known, and the one that was meant. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearestWord } from '../../src/suggest.ts'

const NAMES = ['network', 'datadir', 'rpc', 'tor', 'nostr', 'retention-blocks']

test('a slip or two are understood, another word is not', () => {
  for (const [word, meant] of [
    ['netwrok', 'network'],
    ['nettwork', 'network'],
    ['RETENTION_BLOCK', 'retention-blocks'],
    ['rcp', 'rpc'],
    ['foo', undefined],
    ['password', undefined],
    ['', undefined],
  ] as const) {
    assert.equal(nearestWord(word, NAMES), meant, word)
  }
  const long = NAMES.map((name) => `FIDELITY_TRACKER_${name}`)
  assert.equal(nearestWord('FIDELITY_TRACKER_FOO', long), undefined, 'what all begin with makes nothing alike')
  assert.equal(nearestWord('FIDELITY_TRACKR_RPC', long), 'FIDELITY_TRACKER_rpc', 'a slip in what all begin with')
})

/** What is read of a descriptor without the service's name, and whose it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DescriptorLook, isOfSomebodyElse, parseDescriptor } from '../../../src/tor/descriptor.ts'
import { descriptorText, REAL_DESCRIPTOR } from '../../support/descriptors.ts'

test('revision, blinded key and the key that signs it, of one that a real Tor has made', () => {
  assert.deepEqual(parseDescriptor(descriptorText()), REAL_DESCRIPTOR)
  const other = parseDescriptor(descriptorText(18_446_744_073_709_551_615n, 1))!
  assert.equal(other.revision, 18_446_744_073_709_551_615n, 'all of its 64 bits')
  assert.notEqual(other.blindedKey, REAL_DESCRIPTOR.blindedKey)
})

test('what is no descriptor is none, however it begins', () => {
  const whole = descriptorText()
  const lines = whole.split('\n')
  for (let left = 0; left < lines.length; left++) {
    const without = lines.filter((_, i) => i !== left).join('\n')
    const parsed = parseDescriptor(without)
    assert.ok(parsed === undefined || parsed.revision === REAL_DESCRIPTOR.revision, lines[left])
  }
  for (let length = 0; length < whole.indexOf('revision-counter'); length += 7) {
    assert.equal(parseDescriptor(whole.slice(0, length)), undefined)
  }
  for (const text of ['', 'hs-descriptor 2\n', whole.replace('hs-descriptor 3', 'hs-descriptor 4'), `\n${whole}`]) {
    assert.equal(parseDescriptor(text), undefined)
  }
  const end = '-----END ED25519 CERT-----'
  const cut = whole.replace(/(-----BEGIN ED25519 CERT-----\n)[\s\S]*(-----END ED25519)/, '$1AQgAB5y6\n$2')
  assert.ok(cut.includes(end))
  assert.equal(parseDescriptor(cut), undefined, 'a certificate that ends early')
})

test('a newer one than our Tor has made is somebody else’s; one that is older, or can’t be compared, tells nothing', () => {
  const own = REAL_DESCRIPTOR
  const look = (revision: bigint, ours: typeof own | undefined = own): DescriptorLook => ({
    kind: 'fetched',
    fetched: { ...own, revision },
    own: ours,
  })
  assert.equal(isOfSomebodyElse(look(own.revision)), false)
  assert.equal(isOfSomebodyElse(look(own.revision - 1n)), false)
  assert.equal(isOfSomebodyElse(look(own.revision + 1n)), true)
  const fetched = { ...own, revision: 2n ** 64n - 1n }
  assert.equal(isOfSomebodyElse({ kind: 'fetched', fetched, own: undefined }), false)
  assert.equal(isOfSomebodyElse({ kind: 'missing', isDenied: true, detail: '' }), false)
})

test('while Tor shows the old time period’s one: set beside the one that has led to us', () => {
  const shown = { ...REAL_DESCRIPTOR, blindedKey: 'old', signingKey: 'a' }
  const ours = { ...REAL_DESCRIPTOR, revision: 100n }
  const proof: DescriptorLook = { kind: 'fetched', fetched: ours, own: shown }
  const found = (fetched: Partial<typeof ours>, own = shown): DescriptorLook => ({
    kind: 'fetched',
    fetched: { ...ours, ...fetched },
    own,
  })
  const others = { revision: 101n, signingKey: 'b' }
  assert.equal(isOfSomebodyElse(found(others), proof), true)
  assert.equal(isOfSomebodyElse(found(others)), false, 'nothing has led to us yet')
  assert.equal(isOfSomebodyElse(found({ revision: 101n }), proof), false, 'ours, uploaded again')
  assert.equal(isOfSomebodyElse(found({ ...others, revision: 99n }), proof), false, 'an older one')
  assert.equal(isOfSomebodyElse(found({ ...others, blindedKey: 'next' }), proof), false, 'of the next time period')
  const again = { ...shown, signingKey: 'c' }
  assert.equal(isOfSomebodyElse(found(others, again), proof), false, 'our Tor has made new ones since')
  assert.equal(isOfSomebodyElse(found(others), { kind: 'forgotten' }), false)
})

/** Our own name without Tor: it follows from the key, as Tor says it; and who only reads makes and changes nothing. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Config } from '../../../src/config.ts'
import { onionHostOf } from '../../../src/tor/address.ts'
import { decodeOnionKey, expandSeed, ONION_KEY_FILE, openOnionKey } from '../../../src/tor/key.ts'
import { readOwnHost } from '../../../src/tor/own-host.ts'
import { publicKeyOf } from '../../../src/tor/public-key.ts'
import { onionHost } from '../../support/onions.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** Made by Tor 0.4.9.11 (ADD_ONION NEW:ED25519-V3), with what it said of each; nobody serves them. */
const BY_TOR = [
  [
    'ED25519-V3:aAVRu2Odkws1IKkGHijohDlHTjg5rde+yI1I0nlDnmY7tDhe20S2jjXs8wZVr+mgBeuHKixm1fMIpnXvUPYJvQ==',
    'vaqrdo3e36d7girgroa5niqwpyawrnicnwxytlsf3e4bq3froqbzmrqd.onion',
  ],
] as const

test('the public key of an expanded key: RFC 8032, section 7.1', () => {
  for (const [seed, publicKey] of [
    [
      '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    ],
    [
      '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    ],
    [
      'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
      'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    ],
    [
      '833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42',
      'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
    ],
  ] as const) {
    const { expanded } = expandSeed(Buffer.from(seed, 'hex'))
    assert.equal(publicKeyOf(expanded).toString('hex'), publicKey)
  }
})

test('of any seed it is the one that OpenSSL finds', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
      const { expanded, publicKey } = expandSeed(seed)
      assert.deepEqual(publicKeyOf(expanded), publicKey)
    }),
  )
})

test('of keys that Tor has made it is the service that Tor publishes', () => {
  for (const [text, host] of BY_TOR) assert.equal(onionHostOf(publicKeyOf(decodeOnionKey(text)!)), host)
})

const control = { kind: 'control' } as Config['tor']
const torrc = (hostnameFile: string) => ({ kind: 'torrc', hostnameFile }) as Config['tor']

test('our name is read where a file has it, and nothing is made where none does', async () => {
  using dir = tempDir()
  const dataDir = dir.path
  const file = join(dataDir, ONION_KEY_FILE)
  assert.equal(await readOwnHost({ tor: control, dataDir }), undefined)
  assert.equal(await readOwnHost({ tor: control, dataDir: join(dataDir, 'nowhere') }), undefined)
  assert.deepEqual(readdirSync(dataDir), [], 'no key was made')

  const [text, host] = BY_TOR[0]
  writeFileSync(file, `${text}\n`, { mode: 0o600 })
  assert.equal(await readOwnHost({ tor: control, dataDir }), host)
  assert.equal(await readOwnHost({ tor: { kind: 'none' } as Config['tor'], dataDir }), undefined)
  chmodSync(file, 0o644) // for start to refuse; the address follows from it all the same
  assert.equal(await readOwnHost({ tor: control, dataDir }), host)

  for (const damaged of ['', 'ED25519-V3:', text.slice(0, -4), text.slice(1), host]) {
    writeFileSync(file, damaged)
    assert.equal(await readOwnHost({ tor: control, dataDir }), undefined, damaged)
  }
})

test('of a service that torrc keeps it is what the hostname file says', async () => {
  using dir = tempDir()
  const hostname = join(dir.path, 'hostname')
  assert.equal(await readOwnHost({ tor: torrc(hostname), dataDir: dir.path }), undefined)
  writeFileSync(hostname, `${onionHost('ours')}\n`)
  assert.equal(await readOwnHost({ tor: torrc(hostname), dataDir: dir.path }), onionHost('ours'))
  writeFileSync(hostname, 'example.com\n')
  assert.equal(await readOwnHost({ tor: torrc(hostname), dataDir: dir.path }), undefined)
  mkdirSync(join(dir.path, 'folder'))
  assert.equal(await readOwnHost({ tor: torrc(join(dir.path, 'folder')), dataDir: dir.path }), undefined)
})

test('the key that start makes has a name at once', async () => {
  using dir = tempDir()
  openOnionKey(join(dir.path, ONION_KEY_FILE))
  assert.match((await readOwnHost({ tor: control, dataDir: dir.path }))!, /^[a-z2-7]{56}\.onion$/)
})

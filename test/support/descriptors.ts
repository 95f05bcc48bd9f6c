/** The outer layer of v3 onion service descriptors: the head of one that a real Tor has made, and others after it. */
const CERTIFICATE = Buffer.from(
  'AQgAB5y6AXLJEWlJnpzmqQ29fxM7oWiNjCZdP/gX0CDdC/prYWz7AQAgBAAD+fOJ' +
    '9Ome/+D+LhkJMW2NzKuIFxcUt6RFwtEW2wsiOEHLEOwZ9O5k1IwUKLhWzwS4m+u+' +
    'm+6FZENUiB3HqqEH01TV/n8sDeaX46C4h4qdnP8meSoPqY9P+YDMDyTBsA4=',
  'base64',
)

/** What is readable of it. */
export const REAL_DESCRIPTOR = {
  revision: 1_771_140_344n,
  blindedKey: 'A/nzifTpnv/g/i4ZCTFtjcyriBcXFLekRcLRFtsLIjg',
  signingKey: 'cskRaUmenOapDb1/EzuhaI2MJl0/+BfQIN0L+mthbPs',
}

/** Its text with another revision, or of another time period. */
export function descriptorText(revision = REAL_DESCRIPTOR.revision, period = 0): string {
  const certificate = Buffer.from(CERTIFICATE)
  certificate[44]! ^= period
  const lines = certificate.toString('base64').match(/.{1,64}/g)!
  return [
    'hs-descriptor 3',
    'descriptor-lifetime 180',
    'descriptor-signing-key-cert',
    '-----BEGIN ED25519 CERT-----',
    ...lines,
    '-----END ED25519 CERT-----',
    `revision-counter ${revision}`,
    'superencrypted',
    '-----BEGIN MESSAGE-----',
    '17//7+KXPgX7y3yGlMjMl8CiMqKXbNDwtTxz3dAtljXTgHWWDj7PflMoxwWfWFK/',
    '-----END MESSAGE-----',
  ].join('\n')
}

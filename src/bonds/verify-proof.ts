/**
 * The checks of a taker before it uses a maker, and those by which a tracker ties proof and announcement together. Pure:
 * what the chain says comes as arguments, and a stranger's bytes lead to a verdict, never to an exception.
 * Source: docs/makers.md, "Checks".
 */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { HDKey } from '@scure/bip32'
import { parseHostPort } from '../tor/address.ts'
import { type CertificateTerms, certificateAddresses, certificateHash, certificateText } from './certificate.ts'
import type { BondOutput, FidelityProof, OfferedKeys, ProofCheck, ProofFacts, ProofVerdict } from './proof.ts'
import { buildRedeemScript, p2wshScriptPubKey } from './script.ts'

/** The last lock that is a height; above it is a time (BIP65). */
const LOCK_HEIGHT_MAX = 499_999_999
const BOND_KEY_BRANCH = 2
const HARDENED = 0x8000_0000
/** A signature has 72, a key 33, the script of a bond 34. */
const HEX_BYTES_MAX = 80

/**
 * Judges a proof that came from the maker at `address` (`host:port`, as dialled). With a chain code beside it the proof
 * is of today and passes what today's takers check. Without, but with an expiry, it is judged by what can be checked of
 * its era: no chain code, hence no derivation of the bond's key; its confirmation height may be missing; and makers that
 * announce in format A are older than the limits of the lock's range.
 */
export function verifyProof(proof: FidelityProof, keys: OfferedKeys, facts: ProofFacts, address: string): ProofVerdict {
  const checks = proofChecks(proof, keys, facts, address)
  for (;;) {
    const { done, value } = checks.next()
    if (done) return value
  }
}

/** As `verifyProof`; stops before each check that takes milliseconds, for whoever has others to serve in between. */
export function* proofChecks(
  proof: FidelityProof,
  keys: OfferedKeys,
  facts: ProofFacts,
  address: string,
): Generator<undefined, ProofVerdict> {
  const malformed = malformationOf(proof, keys)
  if (malformed !== undefined) return { ok: false, failed: 'malformed', text: malformed }
  const terms = termsOf(proof, keys)
  if (!terms) {
    const text = 'expected a tweak chain code (makers since May 2026) or a certificate expiry (before), got neither'
    return { ok: false, failed: 'malformed', text }
  }
  const { era } = terms
  if (!facts.output) {
    return { ok: false, era, failed: 'not-found', text: 'the chain has no such output' }
  }
  const claim: Claim = { proof, keys, facts, address, terms, output: facts.output }
  for (const [failed, fault] of CHECKS) {
    if (ON_THE_CURVE.includes(failed)) yield
    const text = fault(claim)
    if (text !== undefined) return { ok: false, era, failed, text }
  }
  const note = confHeightNote(claim)
  return { ok: true, era, ...(note !== undefined && { note }) }
}

/** About 3 ms each. */
const ON_THE_CURVE: readonly ProofCheck[] = ['bond-key', 'signature']

interface Claim {
  proof: FidelityProof
  keys: OfferedKeys
  facts: ProofFacts
  address: string
  terms: CertificateTerms
  output: BondOutput
}

/** Each says what is wrong, or undefined. */
const CHECKS: readonly (readonly [ProofCheck, (claim: Claim) => string | undefined])[] = [
  ['spent', ({ output }) => (output.isUnspent ? undefined : 'the output is spent, in the chain or in the mempool')],
  ['unconfirmed', ({ output }) => (output.confHeight === undefined ? 'its transaction is not in a block' : undefined)],
  ['lock-range', lockRangeFault],
  [
    'lock-passed',
    ({ proof, facts }) =>
      facts.tipHeight > proof.lockHeight
        ? `locked until ${proof.lockHeight}, the tip is ${facts.tipHeight}`
        : undefined,
  ],
  ['cert-hash', certHashFault],
  ['bond-key', bondKeyFault],
  ['script', scriptFault],
  ['amount', ({ proof, output }) => differs(output.amountSats, proof.amountSats)],
  ['signature', signatureFault],
  ['vout', ({ proof }) => differs(0, proof.outpoint.vout)],
  ['not-announced', ({ facts }) => (facts.announcement ? undefined : 'its transaction announces no maker')],
  ['announced-address', ({ facts, address }) => differs(facts.announcement?.address, address)],
  [
    'announced-height',
    ({ facts, proof }) =>
      facts.announcement?.lockHeight === undefined
        ? undefined
        : differs(facts.announcement.lockHeight, proof.lockHeight),
  ],
]

function differs<T extends string | number>(expected: T | undefined, got: T): string | undefined {
  return expected === got ? undefined : `expected ${expected}, got ${got}`
}

/** Takers from June to September 2026 refuse another height than the chain's; later ones don't read it. */
function confHeightNote({ proof, output, terms }: Claim): string | undefined {
  if (proof.confHeight === undefined && terms.era === 'expiry') return undefined
  return proof.confHeight === output.confHeight
    ? undefined
    : `confirmed at height ${output.confHeight}, the proof says ${proof.confHeight ?? 'none'}`
}

function lockRangeFault({ proof, facts, output, terms }: Claim): string | undefined {
  if (proof.lockHeight > LOCK_HEIGHT_MAX) return `expected a height, got the time ${proof.lockHeight}`
  if (terms.era === 'expiry' && facts.announcement?.format === 'A') return undefined
  const { min, max } = facts.lockBlocks
  const lockBlocks = proof.lockHeight - output.confHeight!
  return lockBlocks >= min && lockBlocks <= max
    ? undefined
    : `expected ${min} to ${max} blocks from confirmation to lock height, got ${lockBlocks}`
}

function certHashFault({ proof, address, terms }: Claim): string | undefined {
  const hashFor = (makerAddress: string) => certificateHash(certificateText(proof, terms, makerAddress), terms.era)
  const makerAddresses = certificateAddresses(address, terms.era)
  const hashes = makerAddresses.map(hashFor)
  if (hashes.some((hash) => hash.equals(proof.certHash))) return undefined
  const text = `expected ${hex(hashes[0]!)} (for ${makerAddresses.join(' or ')}), got ${hex(proof.certHash)}`
  const local = `127.0.0.1:${parseHostPort(address)?.port}`
  return hashFor(local).equals(proof.certHash) ? `${text}, which is for ${local}` : text
}

function bondKeyFault({ proof, keys, terms, facts }: Claim): string | undefined {
  if (terms.era === 'expiry') {
    const format = facts.announcement?.format
    // No chain code, nothing to derive from; but whoever announces in C or D is young enough to send one.
    return format === 'C' || format === 'D'
      ? `expected a tweak chain code from a maker that announces in format ${format}, got none`
      : undefined
  }
  const { bondIndex } = proof
  if (bondIndex === undefined || !isU32(bondIndex) || bondIndex >= HARDENED) {
    return `expected the index of a key that is not hardened, got ${bondIndex ?? 'none'}`
  }
  const parent = new HDKey({ publicKey: terms.tweakablePoint, chainCode: keys.tweakChainCode! })
  const child = parent.deriveChild(BOND_KEY_BRANCH).deriveChild(bondIndex).publicKey!
  return differs(hex(child), hex(proof.publicKey))
}

function scriptFault({ proof, output }: Claim): string | undefined {
  return differs(hex(output.scriptPubKey), hex(p2wshScriptPubKey(buildRedeemScript(proof))))
}

/** As libsecp256k1 verifies: strict DER (BIP66), low S only. */
function signatureFault({ proof }: Claim): string | undefined {
  const signature = parseDer(proof.certSig)
  if (!signature) return `expected a signature in strict DER, got ${hex(proof.certSig)}`
  if (signature.hasHighS()) return 'expected an S in the lower half of the order, got one in the upper half'
  const options = { prehash: false, lowS: true, format: 'der' } as const
  return secp256k1.verify(proof.certSig, proof.certHash, proof.publicKey, options)
    ? undefined
    : `expected a signature of ${hex(proof.certHash)} by ${hex(proof.publicKey)}, got one that is not`
}

function parseDer(certSig: Uint8Array): InstanceType<typeof secp256k1.Signature> | undefined {
  try {
    return secp256k1.Signature.fromBytes(certSig, 'der')
  } catch {
    return undefined // the library throws on what is no signature
  }
}

/** Which era a proof is of; undefined: of none. */
function termsOf(proof: FidelityProof, keys: OfferedKeys): CertificateTerms | undefined {
  if (keys.tweakChainCode && keys.tweakablePoint) return { era: 'tweak-point', tweakablePoint: keys.tweakablePoint }
  return proof.certExpiry === undefined ? undefined : { era: 'expiry', expiry: proof.certExpiry }
}

/** What no maker of any era can have meant. */
function malformationOf(proof: FidelityProof, keys: OfferedKeys): string | undefined {
  const { publicKey, certHash } = proof
  const { tweakablePoint, tweakChainCode } = keys
  if (!isPoint(publicKey)) return `the bond's key: expected a compressed point, got ${hex(publicKey)}`
  if (certHash.length !== 32) return `the certificate's hash: expected 32 bytes, got ${certHash.length}`
  if (!isU32(proof.lockHeight)) return `the lock height: expected a u32, got ${proof.lockHeight}`
  if (tweakChainCode === undefined) return undefined
  if (tweakChainCode.length !== 32) return `the tweak chain code: expected 32 bytes, got ${tweakChainCode.length}`
  return tweakablePoint !== undefined && isPoint(tweakablePoint)
    ? undefined
    : `the tweakable point: expected a compressed point, got ${tweakablePoint ? hex(tweakablePoint) : 'none'}`
}

function isPoint(bytes: Uint8Array): boolean {
  return bytes.length === 33 && secp256k1.utils.isValidPublicKey(bytes, true)
}

function isU32(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n <= 0xffff_ffff
}

/** A script in the chain may be as long as a block: of more than a maker's own values is told how long it is. */
function hex(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, HEX_BYTES_MAX)).toString('hex')
  return bytes.length <= HEX_BYTES_MAX ? shown : `${shown}... (${bytes.length} bytes)`
}

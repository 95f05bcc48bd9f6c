/**
 * Nostr events as the market uses them: shapes and meaning, no signatures (signatures.ts). Sources: NIP-01 (event, kinds),
 * NIP-40 (expiration); kinds, content and tags as OpenSwap has them, docs/nostr.md.
 */
import { z } from 'zod'
import { asTxid, type Network, type Outpoint } from '../chain/types.ts'
import { printable } from '../format.ts'

/** Addressable kinds (30000–39999) in which makers announce their bond. */
export const BOND_KINDS: Readonly<Record<Network, number>> = {
  main: 37778,
  signet: 37779,
  regtest: 37780,
  testnet3: 37781,
  testnet4: 37782,
}

export const EVENT_LIMITS = {
  /** A bond's event has two; other programs add some of their own. */
  tags: 32,
  /** Texts in one tag. */
  tagTexts: 16,
  /** Characters of a text, in a tag or as content. A bond's has 66. */
  textChars: 1_024,
  /** How long makers and we let a bond's event live: what a taker accepts at the most. */
  lifeS: 86_400,
  /** How far ahead of its clock a taker takes an event. */
  aheadS: 300,
}

const hex = (chars: number) => z.string().regex(new RegExp(`^[0-9a-f]{${chars}}$`), `${chars} lower-case hex digits`)
const shortText = z.string().max(EVENT_LIMITS.textChars)

/** Lower-case hex of exact length, whole numbers, tags of texts: the library that checks signatures looks at none of it. */
export const nostrEventSchema = z.object({
  id: hex(64),
  pubkey: hex(64),
  created_at: z.int().min(0).max(0xffff_ffff),
  kind: z.int().min(0).max(65_535),
  tags: z.array(z.array(shortText).max(EVENT_LIMITS.tagTexts)).max(EVENT_LIMITS.tags),
  content: shortText,
  sig: hex(128),
})
export type NostrEvent = z.infer<typeof nostrEventSchema>

/** What is signed: all but id, author and signature. */
export type EventDraft = Pick<NostrEvent, 'kind' | 'created_at' | 'tags' | 'content'>

export type ReadEvent = { ok: true; event: NostrEvent } | { ok: false; fault: string }

/** Of JSON. `fault` names the field. Unknown keys are dropped. */
export function readEvent(value: unknown): ReadEvent {
  const parsed = nostrEventSchema.safeParse(value)
  if (parsed.success) return { ok: true, event: parsed.data }
  const { path, message } = parsed.error.issues[0]!
  return { ok: false, fault: printable(path.length > 0 ? `${path.join('.')}: ${message}` : 'no event', 80) }
}

/** As a maker announces its bond, signed by whoever does. `outpoint` has vout 0. */
export function bondEventDraft({ txid }: Outpoint, network: Network, createdAtS: number): EventDraft {
  return {
    kind: BOND_KINDS[network],
    created_at: createdAtS,
    tags: [
      ['d', `fidelity:${txid}:0`],
      ['expiration', String(createdAtS + EVENT_LIMITS.lifeS)],
    ],
    content: `${txid}:0`,
  }
}

/** The bond that an event announces; undefined when its content is anything else. */
export function bondNamed({ content }: Pick<NostrEvent, 'content'>): Outpoint | undefined {
  const [, txid] = /^([0-9a-f]{64}):0$/i.exec(content.trim()) ?? []
  return txid === undefined ? undefined : { txid: asTxid(txid.toLowerCase()), vout: 0 }
}

/** Unix seconds (NIP-40); undefined without the tag, or with one that is no number. */
export function expirationS({ tags }: Pick<NostrEvent, 'tags'>): number | undefined {
  const text = tags.find(([name]) => name === 'expiration')?.[1]
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** Why a taker of today's market skips an event of the right kind, in the order in which it looks, and in words. */
export const SKIP_REASONS = {
  no_expiration: 'no expiration',
  expired: 'expired',
  future: 'created in the future',
  old: 'older than a day',
  no_bond: 'names no bond: <txid>:0 was expected',
} as const
export type SkipReason = keyof typeof SKIP_REASONS

/** Why an event is not of now; undefined when it is. Takers hold bonds' events to the same. */
export function whyUntimely(event: Pick<NostrEvent, 'created_at' | 'tags'>, nowS: number): SkipReason | undefined {
  const untilS = expirationS(event)
  if (untilS === undefined) return 'no_expiration'
  if (untilS < nowS) return 'expired'
  if (event.created_at > nowS + EVENT_LIMITS.aheadS) return 'future'
  return event.created_at < nowS - EVENT_LIMITS.lifeS ? 'old' : undefined
}

/** As `whyUntimely`, of a bond's event: undefined when the taker looks its bond up. */
export function whySkipped(event: NostrEvent, nowS: number): SkipReason | undefined {
  return whyUntimely(event, nowS) ?? (bondNamed(event) ? undefined : 'no_bond')
}

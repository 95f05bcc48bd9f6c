/** What a request costs before it is answered, in the units of `work.ts`. What its reply costs is charged with the reply. Pure. */
import type { Request } from './messages.ts'
import { PRICES } from './work.ts'

const REQUEST = 1

export function priceOf(request: Request): number {
  switch (request.type) {
    case 'WatchMany':
    case 'Subscribe':
    case 'Unsubscribe':
      return REQUEST + request.outpoints.length * PRICES.outpoint
    case 'Register':
      return REQUEST + request.outpoints.length * (PRICES.outpoint + PRICES.row)
    case 'Watch':
      return REQUEST + PRICES.outpoint + PRICES.row
    case 'Post':
      return REQUEST + PRICES.proof
    default:
      return REQUEST
  }
}

/** What so many bytes cost, in either direction. */
export function priceOfBytes(bytes: number): number {
  return Math.ceil(bytes / 1024) * PRICES.kilobyte
}

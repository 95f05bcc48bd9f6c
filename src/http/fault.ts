/** A request that can't be answered as asked: becomes `{"error": {code, message}}` with its status. */
import type { ErrorCode } from './replies.ts'

const STATUS: Record<ErrorCode, number> = {
  bad_request: 400,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  misdirected: 421,
  internal: 500,
  not_synced: 503,
  busy: 503,
}

export class HttpFault extends Error {
  override readonly name = 'HttpFault'
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string) {
    super(message)
    this.code = code
  }
  get status(): number {
    return STATUS[this.code]
  }
}

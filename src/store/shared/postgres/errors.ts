/**
 * What PostgreSQL, the way to it and `pg` say when something fails, by fate: nearly all of it is weather, told in a sentence
 * that says what to do. A statement that can't be right (its syntax, a constraint) is ours, and stays what it was.
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html; pg's messages are those of 8.23.
 */
import { describeError, TransientError } from '../../../errors.ts'

/**
 * `down`: the connection is no good any more, or none can be had. `refused`: not until somebody changes something there.
 * `passing`: this statement failed, the next may well succeed.
 */
export type TroubleKind = 'down' | 'refused' | 'passing'

export class PostgresTrouble extends TransientError {
  override readonly name = 'PostgresTrouble'
  readonly kind: TroubleKind
  /** What has happened, without what to do. */
  readonly what: string
  /** What to do; the message has it too. */
  readonly advice: string
  /** PostgreSQL's own code, or Node's; empty where there is none. */
  readonly code: string
  /** True where the answer to a statement may still come, or its effect be there. */
  readonly isLate: boolean
  constructor(kind: TroubleKind, what: string, advice: string, { cause, isLate = false }: TroubleOptions = {}) {
    super(`${what}: ${advice}`, { cause })
    this.kind = kind
    this.what = what
    this.advice = advice
    this.code = codeOf(cause)
    this.isLate = isLate
  }
}

interface TroubleOptions extends ErrorOptions {
  isLate?: boolean
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

type Judgement = [kind: TroubleKind, what: string, advice: string]

const DISK = 'make room on the disk of PostgreSQL'
const LOG = "look into PostgreSQL's log"

/** By SQLSTATE, the longest prefix that fits. */
const BY_STATE: Readonly<Record<string, Judgement>> = {
  '08': ['down', 'the connection is lost', 'it is made anew'],
  '25006': [
    'down',
    'is read-only',
    'it is a standby, or default_transaction_read_only is on there: let it be a primary',
  ],
  '25P03': ['down', 'has ended a transaction that took too long', 'it is made anew'],
  '28': ['refused', 'does not let us in', "look at the password, the user's name, and pg_hba.conf there"],
  '28P01': [
    'refused',
    'says that the password is wrong',
    'correct it in shared-store, or set it there by ALTER ROLE … PASSWORD',
  ],
  '3D000': [
    'refused',
    'does not have this database',
    'make it there by createdb, owned by the user, or name another one',
  ],
  '3F000': [
    'refused',
    'has no schema to make tables in',
    'CREATE SCHEMA public there, or set the search_path of the user',
  ],
  '40': ['passing', 'two transactions were in the way of each other', 'it is tried again'],
  '42501': [
    'refused',
    'does not let us do that',
    'make the user the owner of the database there (ALTER DATABASE … OWNER TO …)',
  ],
  '53': ['passing', 'lacks resources', LOG],
  '53100': ['passing', 'has no room left on its disk', DISK],
  '53300': ['down', 'has no connection left', 'raise max_connections there, or let fewer programs connect'],
  '55P03': ['passing', 'somebody holds a lock', 'it is tried again'],
  '57': ['down', 'has ended the connection', 'it is made anew'],
  '57014': ['passing', 'took too long over a statement', 'it is tried again'],
  '57P03': ['down', 'is starting up, or stopping', 'wait'],
  '58': ['passing', 'has trouble with its files', LOG],
  XX: ['passing', 'has trouble of its own', LOG],
}

const CERTIFICATE = /CERT|^ERR_(?:TLS|SSL|OSSL)|UNABLE_TO_|SIGNATURE|^EPROTO$/

/** What `error` is to us; `where` is the host, for people. What is neither weather nor known comes back as it was. */
export function judgePostgres(error: unknown, where: string): unknown {
  if (error instanceof TransientError || !(error instanceof Error)) return error
  const trouble = ([kind, what, advice]: Judgement, isLate = false) =>
    new PostgresTrouble(kind, `PostgreSQL at ${where} ${what} (${describeError(error)})`, advice, {
      cause: error,
      isLate,
    })
  const code = codeOf(error)
  if ('severity' in error) {
    const state = Object.keys(BY_STATE)
      .filter((prefix) => code.startsWith(prefix))
      .sort((a, b) => b.length - a.length)[0]
    if (state !== undefined) return trouble(BY_STATE[state]!)
    return error.severity === 'FATAL' ? trouble(['down', 'has ended the connection', LOG]) : error
  }
  if (CERTIFICATE.test(code)) {
    return trouble([
      'refused',
      'has a certificate that is not to be trusted',
      'name who signed it with sslrootcert, and the host as the certificate has it',
    ])
  }
  if ('syscall' in error)
    return trouble(['down', 'is not reached', 'start it, or correct the host and port in shared-store'])
  if (/^(?:There was an error establishing|The server does not support) /.test(error.message)) {
    return trouble([
      'refused',
      'offers no TLS',
      'set ssl = on there, or sslmode=prefer here if nobody listens on the way',
    ])
  }
  if (/^SASL: |password/i.test(error.message)) {
    return trouble(['refused', 'could not agree with us on the password', 'give the right one in shared-store'])
  }
  if (error.message === 'Query read timeout')
    return trouble(['passing', 'does not answer', 'wait, or look whether it is frozen'], true)
  if (error.message === 'timeout expired')
    return trouble(['down', 'does not answer', 'look whether it is frozen, or a firewall drops what we send'])
  if (/^Connection terminated|not queryable/.test(error.message))
    return trouble(['down', 'is gone', 'it is dialled again'])
  return error
}

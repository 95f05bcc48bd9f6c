/** What the verbs ask of the registrations in PostgreSQL. */
import type { Height, Outpoint } from '../../../chain/types.ts'
import { columnTxid } from '../../columns.ts'
import { storableJson } from './rows.ts'
import type { Ask, SharedDatabase } from './session.ts'

/** Which of these are there. */
export async function registeredAmong(ask: Ask, outpoints: readonly Outpoint[]): Promise<Outpoint[]> {
  const text = `SELECT w.txid, w.vout FROM json_to_recordset($1::json) AS n (txid text, vout bigint)
    JOIN watches w ON w.txid = decode(n.txid, 'hex') AND w.vout = n.vout`
  return (await ask<{ txid: Buffer; vout: number }>(text, [storableJson(outpoints)])).map(outpointOf)
}

/** Those that were asked for until after `height`. */
export async function registrationsAfter(db: SharedDatabase['db'], height: Height): Promise<Outpoint[]> {
  const later = db.selectFrom('watches').select(['txid', 'vout']).where('until_height', '>', height)
  return (await later.execute()).map(outpointOf)
}

/** Those that have not come to their end at `tipHeight`, by whichever of their two heights comes first. */
export async function countLasting(db: SharedDatabase['db'], tipHeight: Height): Promise<number> {
  const lasting = db
    .selectFrom('watches')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('until_height', '>=', tipHeight)
    .where((eb) => eb.or([eb('unfunded_until', 'is', null), eb('unfunded_until', '>=', tipHeight)]))
  return (await lasting.executeTakeFirstOrThrow()).count
}

function outpointOf({ txid, vout }: { txid: Buffer; vout: number }): Outpoint {
  return { txid: columnTxid(txid), vout }
}

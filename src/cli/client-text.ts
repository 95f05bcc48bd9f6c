/** Who is connected, and what is registered, as text for people. */
import { ago, blockSpan } from '../format.ts'
import type { ClientRow } from '../views/schemas/clients.ts'
import { type Column, orDash, type TableLook, table } from './table.ts'
import type { Watches } from './watches.ts'

/** Of many connections these are told one by one. */
const CLIENTS_SHOWN = 50

function clientColumns({ nowMs }: TableLook): readonly Column<ClientRow>[] {
  const count = (head: string, rank: number, of: (row: ClientRow) => number): Column<ClientRow> => ({
    head,
    rank,
    isNumber: true,
    cell: (row) => String(of(row)),
  })
  return [
    { ...count('ID', 0, ({ id }) => id) },
    { head: 'DOOR', rank: 2, cell: ({ door }) => door },
    { head: 'SINCE', rank: 4, cell: ({ since }) => ago(since, nowMs) },
    { head: 'GROUP', rank: 7, cell: ({ group }) => group },
    count('REQUESTS', 5, ({ requests }) => requests),
    count('SUBSCRIBED', 6, ({ subscriptions }) => subscriptions),
    count('UNITS', 8, ({ units }) => units),
    count('LATELY', 1, ({ units_lately }) => units_lately),
    count('LEFT', 3, ({ units_left }) => units_left),
    count('UNSENT', 9, ({ unsent_bytes }) => unsent_bytes),
    { head: 'CIRCUIT', rank: 1, cell: ({ circuit }) => orDash(circuit) },
  ]
}

/** `rows`: those that cost most first. */
export function describeClients(rows: readonly ClientRow[], look: TableLook): string {
  const shown = table(clientColumns(look), rows.slice(0, CLIENTS_SHOWN), look)
  if (rows.length === 0) return 'nobody is connected'
  const subscriptions = rows.reduce((sum, row) => sum + row.subscriptions, 0)
  const spent = rows.filter(({ units_left }) => units_left < 1).length
  const rest = rows.length > CLIENTS_SHOWN ? `, of which the ${CLIENTS_SHOWN} that cost most are shown` : ''
  return `${shown}\n${rows.length} connections${rest}; ${subscriptions} subscriptions; ${spent} have spent their allowance`
}

function endColumns(height: number | null): readonly Column<Watches['ends'][number]>[] {
  return [
    { head: 'OUTPOINTS', rank: 0, isNumber: true, cell: ({ count }) => String(count) },
    { head: 'FROM BLOCK', rank: 1, isNumber: true, cell: ({ from }) => String(from) },
    { head: 'TO BLOCK', rank: 1, isNumber: true, cell: ({ to }) => String(to) },
    {
      head: 'ENDS WITHIN',
      rank: 2,
      cell: ({ to }) => (height === null ? '-' : blockSpan(Math.max(0, to - height))),
    },
  ]
}

export function describeWatches({ count, places, unfunded, height, ends }: Watches, look: TableLook): string {
  const shown = table(endColumns(height), ends, look)
  return [
    `${count} of ${places} places taken${height === null ? '' : `, at block ${height}`}`,
    `${unfunded} of them wait for their funding`,
    ...(ends.length > 0 ? [shown] : []),
  ].join('\n')
}

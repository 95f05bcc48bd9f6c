/** The words that `makers --sort` takes: for the command line, which loads nothing of the verb. */

export const MAKER_SORTS = ['value', 'uptime', 'fee', 'left'] as const
export type MakerSort = (typeof MAKER_SORTS)[number]

/** Words of the export verb, which its help names. */

export const EXPORT_FORMATS = ['json', 'csv'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export const EXPORT_NOUNS = ['bonds', 'makers', 'trackers', 'relays'] as const
export type ExportNoun = (typeof EXPORT_NOUNS)[number]

/**
 * Leases: what one tracker does for all that share a store, for as long as it says so again in time. A lease that isn't
 * renewed ends by itself, by the clock of the store.
 */
export interface Leases {
  /**
   * Takes the lease `name`, or renews it, for `lengthMs` by the store's own clock. True while we are the holder. Throws
   * TransientError when the store can't be asked.
   */
  take(name: string, lengthMs: number): Promise<boolean>
  /** Gives it back, so that another needn't wait. Without effect where we don't hold it. Throws TransientError. */
  drop(name: string): Promise<void>
}

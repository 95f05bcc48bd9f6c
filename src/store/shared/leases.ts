/** What only one tracker at a time may do: each such thing is a lease with a name, held for a time by the store's clock. */
export interface Leases {
  /**
   * Takes the lease `name`, or renews it, for `lengthMs` by the store's own clock. True while we are the holder. Throws
   * TransientError when the store can't be asked.
   */
  take(name: string, lengthMs: number): Promise<boolean>
  /** Gives it back, so that another needn't wait. Throws TransientError. */
  drop(name: string): Promise<void>
}

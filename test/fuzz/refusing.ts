// biome-ignore lint/suspicious/noExplicitAny: errors are made in many ways
type Refusal = new (...args: any[]) => Error

/** Runs `take`; one of `refusals` is as good as an answer. */
export function refusing(refusals: readonly Refusal[], take: () => void): void
export function refusing(refusals: readonly Refusal[], take: () => Promise<void>): Promise<void>
export function refusing(refusals: readonly Refusal[], take: () => void | Promise<void>): void | Promise<void> {
  const judge = (error: unknown) => {
    if (!refusals.some((refusal) => error instanceof refusal)) throw error
  }
  try {
    return take()?.catch(judge)
  } catch (error) {
    judge(error)
  }
}

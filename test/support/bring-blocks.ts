/** Nodes that don't know each other, and are brought each other's blocks by the test: nothing of their mempools goes along. */
import type { Regtest } from '../sandbox/regtest.ts'

/** `to` gets all blocks of `from`'s chain that it hasn't, and follows them where they have more work. */
export async function bringBlocks(from: Regtest, to: Regtest): Promise<void> {
  const height = await from.height()
  const hashAt = (node: Regtest, at: number) => node.rpc<string>('getblockhash', at).catch(() => undefined)
  let known = Math.min(height, await to.height())
  while ((await hashAt(from, known)) !== (await hashAt(to, known))) known--
  for (let at = known + 1; at <= height; at++) {
    const block = await from.rpc<string>('getblock', await hashAt(from, at), 0)
    // Null: taken as the new tip; else `inconclusive`, on a chain with less work so far.
    const said = await to.rpc<string | null>('submitblock', block)
    if (said !== null && said !== 'inconclusive' && !said.startsWith('duplicate'))
      throw new Error(`block refused: ${said}`)
  }
}

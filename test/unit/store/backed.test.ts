import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openStore } from '../../../src/store/open.ts'
import { BackedShared } from '../../../src/store/shared/backed.ts'
import type { Claim, CommonStore } from '../../../src/store/shared/store.ts'
import { tempDir } from '../../support/temp-dir.ts'

test('claims reach the shared store a quarter of a second apart, however often they are asked for', async () => {
  using dir = tempDir()
  using db = openStore(dir.path, 'regtest').db
  let nowMs = 0
  const claimedMs: number[] = []
  const common: Pick<CommonStore, 'claim'> = {
    async claim(hosts): Promise<Claim[]> {
      claimedMs.push(nowMs)
      return hosts.map((host) => ({ host, isOurs: true, waitMs: 0 }))
    },
  }
  const pause = async (ms: number) => {
    nowMs += ms
  }
  const shared = new BackedShared(db, common as CommonStore, () => true, { monotonicMs: () => nowMs }, pause)
  for (const afterMs of [0, 0, 100, 400, 10]) {
    nowMs += afterMs
    assert.equal((await shared.claim(['maker'], 1_000))[0]?.isOurs, true)
  }
  assert.deepEqual(claimedMs, [0, 250, 500, 900, 1_150])
})

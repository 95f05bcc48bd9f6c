/** The loop that follows the chain, against a node whose blocks can't all be had: what it asks for, and how often. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { BATCH_LIMITS, type NextBlock } from '../../../src/chain/batch.ts'
import { newFollowing } from '../../../src/chain/following.ts'
import { runSync, SYNC_LIMITS } from '../../../src/chain/sync.ts'
import type { BlockHash, BlockRef } from '../../../src/chain/types.ts'
import { BlockUnavailable, ConfigError, TransientError } from '../../../src/errors.ts'
import { hashOf } from '../../support/bonds.ts'
import { HandClock } from '../../support/wire.ts'

const BEST = 40
const hashAt = (height: number) => hashOf(1_000 + height)

/** A chain of `BEST` blocks, an index of it, and what was asked of the node. */
function setup({ servesPartial = false } = {}) {
  const end = new AbortController()
  const following = newFollowing(servesPartial)
  const connected: BlockRef[] = []
  const read: number[] = []
  const told: string[] = []
  const looks: number[] = []
  let connects = 0
  const heightOf = (hash: BlockHash) => Number.parseInt(hash, 16) - 1_000
  /** Called for each block that is asked for: throws what the node says. */
  let onRead = (_height: number): Promise<void> | void => {}
  /** Called before blocks are connected, by their heights. */
  let onConnect = (_heights: readonly number[]): void => {}
  /** How many were connected together. */
  const batches: number[] = []
  /** Of a block whose parent is said to be another one. */
  const strangers = new Set<number>()
  const from = (height: number) => Array.from({ length: BEST + 1 - height }, (_, i) => hashAt(height + i))
  const api = {
    connect: async () => {
      connects++
      return { version: 1, subversion: '', source: 'rest', zmq: { blocks: false, mempoolEvents: false } }
    },
    view: async (height: number | undefined) => {
      looks.push(height ?? -1)
      const best = { height: BEST, hash: hashAt(BEST) }
      const view = { best, isInitialDownload: false, headers: BEST, pruneHeight: 0 }
      return height === undefined
        ? { ...view, following: [] as BlockHash[] }
        : { ...view, atHeight: hashAt(height), following: from(height + 1) }
    },
    hashesFrom: async (height: number) => from(height),
    readBlock: async (hash: BlockHash) => {
      const height = heightOf(hash)
      read.push(height)
      await onRead(height)
      end.signal.throwIfAborted()
      const prevHash = hashAt(strangers.delete(height) ? 9_000 : height - 1)
      return { block: { hash, prevHash, timeS: 0, bytes: 1, spent: new Uint32Array(2) }, source: 'rest' }
    },
    waitForTip: async () => {
      end.abort()
      end.signal.throwIfAborted()
    },
  }
  const clock = new HandClock()
  const deps = {
    node: { with: () => api },
    index: {
      tip: () => connected.at(-1),
      scannedFrom: () => connected[0]?.height,
      lowest: () => connected[0],
      met: () => {},
      connect: async (blocks: readonly NextBlock[]) => {
        onConnect(blocks.map(({ height }) => height))
        batches.push(blocks.length)
        connected.push(...blocks.map(({ block: { hash }, height }) => ({ hash, height })))
      },
    },
    following,
    clock,
    random: () => -1, // no pause between tries
    log: pino({ level: 'info' }, { write: (line: string) => told.push(JSON.parse(line).msg) }),
  }
  return {
    ...{ api, following, connected, batches, strangers, read, told, looks, end, clock },
    connects: () => connects,
    /** What `readBlock` does at a height before it answers. */
    onRead: (does: typeof onRead) => {
      onRead = does
    },
    onConnect: (does: typeof onConnect) => {
      onConnect = does
    },
    async run() {
      const alive = setInterval(() => {}, 1_000) // as sockets keep the daemon
      try {
        await runSync(deps as unknown as Parameters<typeof runSync>[0], end.signal)
      } finally {
        clearInterval(alive)
      }
    },
  }
}

test('a block that can not be read: those before it are connected, it alone is asked for again, and nothing is connected anew', async () => {
  const node = setup()
  let tries = 0
  node.onRead((height) => {
    if (height === 10 && ++tries <= 50) throw new BlockUnavailable('pruned')
  })
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.equal(node.connected.length, BEST + 1)
  assert.deepEqual(
    node.connected.map(({ height }) => height),
    Array.from({ length: BEST + 1 }, (_, i) => i),
  )
  const [first, last] = [node.read.indexOf(10), node.read.lastIndexOf(10)]
  const ahead = node.read.slice(first, last).filter((height) => height !== 10)
  const others = Array.from({ length: SYNC_LIMITS.blocksInFlight - 1 }, (_, i) => 11 + i)
  assert.deepEqual(ahead, others, 'what was fetched ahead at the first try')
  assert.equal(node.connects(), 1)
  assert.deepEqual(node.told, [
    'bitcoind connected',
    'scan begins',
    'waiting for a block that bitcoind can not give',
    'the block that was waited for is there',
    'scan done',
  ])
})

test('an exchange that fails again and again after a good look is one line, and blocks that are connected are progress', async () => {
  const node = setup()
  let tries = 0
  node.onRead((height) => {
    if (height === 10 && ++tries <= 50) throw new TransientError('socket hang up')
  })
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.equal(node.connected.length, BEST + 1)
  assert.equal(node.connects(), 51)
  const expected = ['bitcoind connected', 'scan begins', 'bitcoind unreachable', 'bitcoind connected']
  assert.deepEqual(node.told.slice(0, 4), expected)
  assert.ok(node.told.length <= 7, `${node.told}`)
  assert.equal(node.told.at(-1), 'scan done')
})

const ALL = Array.from({ length: BEST + 1 }, (_, height) => height)

test('far behind, blocks are connected together; near the tip each by itself', async () => {
  const node = setup()
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.deepEqual(
    node.connected.map(({ height }) => height),
    ALL,
  )
  assert.deepEqual(node.batches, [32, 4, ...Array(BATCH_LIMITS.nearTipBlocks - 1).fill(1)])
  assert.deepEqual(node.looks, [-1, BEST], 'in one go')
})

test('blocks that wait for one that does not come are connected without it', async () => {
  const node = setup()
  let comes = () => {}
  node.onConnect((heights) => {
    if (heights.at(-1) === 4) comes()
  })
  node.onRead((height) => {
    // Asked for when 0 to 4 are there.
    if (height === 4 + SYNC_LIMITS.blocksInFlight) node.clock.atMs += BATCH_LIMITS.waitMs
    if (height !== 5) return
    return new Promise<void>((resolve) => {
      comes = resolve
    })
  })
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.deepEqual(node.batches.slice(0, 2), [5, 27])
  assert.equal(node.connected.length, BEST + 1)
})

test('a batch ends with the keys it may have', async () => {
  const node = setup()
  const { readBlock } = node.api
  const half = new Uint32Array(BATCH_LIMITS.keyBytes / 8)
  node.api.readBlock = async (hash) => {
    const read = await readBlock(hash)
    return { ...read, block: { ...read.block, spent: half } }
  }
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.deepEqual(node.batches.slice(0, 3), [2, 2, 2])
  assert.equal(node.connected.length, BEST + 1)
})

test('a block of another branch in the middle: those before it are connected, and the chain is looked at again', async () => {
  const node = setup()
  node.strangers.add(10)
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.equal(node.batches[0], 10)
  assert.deepEqual(node.looks, [-1, 9, BEST])
  assert.equal(node.connected.length, BEST + 1)
})

test('a batch with a block that can not be read again: those before it are connected, and it is waited for', async () => {
  const node = setup()
  let tries = 0
  node.onConnect((heights) => {
    if (heights.includes(7) && ++tries <= 3) throw new BlockUnavailable('pruned meanwhile')
  })
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.deepEqual(
    node.connected.map(({ height }) => height),
    ALL,
  )
  assert.deepEqual(node.batches.slice(0, 7), Array(7).fill(1))
  assert.equal(node.looks[1], 6)
})

test('a stop does not wait for a batch: what came is dropped, and what was connected stays', async () => {
  const node = setup()
  node.onRead((height) => {
    if (height === 31) node.end.abort() // the last of the first batch
  })
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.deepEqual(node.batches, [])
})

test('with --serve-partial the scan begins where blocks can be had', async () => {
  for (const lowest of [0, 1, 17, BEST]) {
    const node = setup({ servesPartial: true })
    node.onRead((height) => {
      if (height < lowest) throw new BlockUnavailable('not downloaded yet')
    })
    await assert.rejects(node.run(), { name: 'AbortError' })
    assert.equal(node.connected[0]!.height, lowest)
    assert.equal(node.connected.length, BEST + 1 - lowest)
  }
})

test('a node of another chain is refused before a block is taken back', async () => {
  const node = setup()
  node.connected.push({ height: 30, hash: hashAt(9_030) }, { height: 31, hash: hashAt(9_031) })
  await assert.rejects(node.run(), (error: Error) => {
    assert.ok(error instanceof ConfigError)
    assert.match(error.message, /shares no block with this index, which begins with block 30 .*rescan --from 30/)
    return true
  })
  assert.equal(node.connected.length, 2)
})

test('a node that was the right one since the start and tells of another chain, or a gap, is weather', async () => {
  const node = setup()
  const { view } = node.api
  const hashes = node.api.hashesFrom
  const lies: (() => void)[] = [
    () => {
      node.api.view = async () => ({ ...(await view(BEST)), atHeight: hashAt(9_000) })
      node.api.hashesFrom = async () => [hashAt(9_000)]
    },
    () => {
      node.api.view = async () => ({ ...(await view(BEST)), pruneHeight: BEST + 5, following: [hashAt(BEST + 1)] })
    },
  ]
  const { waitForTip } = node.api
  node.api.waitForTip = async () => {
    const lie = lies.shift()
    if (!lie) return waitForTip()
    lie()
    const { connect } = node.api
    node.api.connect = async () => {
      Object.assign(node.api, { view, hashesFrom: hashes, connect })
      return connect()
    }
  }
  await assert.rejects(node.run(), { name: 'AbortError' })
  assert.equal(node.connected.length, BEST + 1, 'nothing was taken back')
  assert.equal(node.connects(), 3)
  assert.deepEqual(lies, [])
})

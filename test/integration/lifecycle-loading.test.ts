/** A stop that comes while the node thread is still loading. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toItsEnd } from '../sandbox/to-its-end.ts'

const PROGRAM = new URL('../support/close-node.ts', import.meta.url).pathname

test('a node thread that is stopped while it loads is ended only once it has loaded and closed', async () => {
  // Ended in mid-load it takes the process down, but only if ZeroMQ's binary is being loaded at that moment: some 10 ms.
  const ended = await toItsEnd([process.execPath, '--disable-warning=ExperimentalWarning', PROGRAM])
  assert.deepEqual(ended, { code: 0, stdout: '["closed"]', stderr: '' })
})

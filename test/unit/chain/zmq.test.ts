import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressFrom } from '../../../src/chain/zmq.ts'

test('where bitcoind publishes, as seen from here', () => {
  for (const [host, offered, expected] of [
    ['127.0.0.1', 'tcp://127.0.0.1:28332', 'tcp://127.0.0.1:28332'],
    ['127.0.0.1', 'tcp://[::1]:28332', 'tcp://[::1]:28332'],
    ['10.0.0.5', 'tcp://10.0.0.6:28332', 'tcp://10.0.0.6:28332'],
    ['10.0.0.5', 'tcp://*:28332', 'tcp://10.0.0.5:28332'],
    ['10.0.0.5', 'tcp://0.0.0.0:28332', 'tcp://10.0.0.5:28332'],
    ['10.0.0.5', 'tcp://[::]:28332', 'tcp://10.0.0.5:28332'],
    ['10.0.0.5', 'tcp://eth0:28332', 'tcp://10.0.0.5:28332'],
    ['fd00::5', 'tcp://*:28332', 'tcp://[fd00::5]:28332'],
    ['fd00::5', 'tcp://[::]:28332', 'tcp://[fd00::5]:28332'],
    ['::1', 'tcp://[::]:28332', 'tcp://[::1]:28332'],
    ['::1', 'tcp://0.0.0.0:28332', 'tcp://127.0.0.1:28332'],
    ['bitcoind', 'tcp://0.0.0.0:28332', 'tcp://bitcoind:28332'],
    ['127.0.0.1', 'ipc:///run/bitcoind/zmq', 'ipc:///run/bitcoind/zmq'],
    ['127.0.0.1', 'nonsense', 'nonsense'],
  ] as const) {
    assert.equal(addressFrom(host, offered), expected, `${offered} from ${host}`)
  }
})

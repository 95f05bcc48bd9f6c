/** What comes over sockets that only a library of their own can read: Tor's control port, bitcoind's publisher. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { Publisher } from 'zeromq'
import { ZmqFeed } from '../../src/chain/zmq.ts'
import { AccessRefused, TransientError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { TorControl } from '../../src/tor/control.ts'
import { TorRefusal } from '../../src/tor/refusals.ts'
import { waitUntil } from '../sandbox/wait.ts'
import type { Target } from './fuzz.ts'
import { refusing } from './refusing.ts'

const OK = '250 OK\r\n'
const SEEDS = [
  `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.8.1"\r\n${OK}${OK}250-version=0.4.8\r\n${OK}`,
  `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=HASHEDPASSWORD,COOKIE\r\n${OK}515 Authentication failed\r\n`,
  `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=SAFECOOKIE COOKIEFILE="/nowhere/\\"x"\r\n${OK}`,
  `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n${OK}${OK}250+onions/current=\r\nabc\r\n..d\r\n.\r\n${OK}650 HS_DESC UPLOADED a b c\r\n`,
]

/** Says what it is to say to whoever connects, and hangs up. */
class Speaker {
  text: Buffer = Buffer.alloc(0)
  readonly #server: Server
  #port: number | undefined

  constructor() {
    this.#server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(this.text)
    }).unref()
  }

  async port(): Promise<number> {
    if (this.#port === undefined) {
      await once(this.#server.listen(0, '127.0.0.1'), 'listening')
      this.#port = (this.#server.address() as { port: number }).port
    }
    return this.#port
  }
}

const speaker = new Speaker()

const control: Target = {
  name: 'control',
  seeds: SEEDS.map((text) => Buffer.from(text, 'latin1')),
  async take(input) {
    speaker.text = input
    using line = new TorControl({
      control: { host: '127.0.0.1', port: await speaker.port() },
      password: new Secret('secret'),
    })
    await refusing([TransientError, AccessRefused, TorRefusal], async () => {
      await line.connect()
      await line.info('version')
      await line.addService(new Secret('ED25519-V3:AAAA'), 80, { host: '127.0.0.1', port: 80 }, [])
    })
  },
}

/** bitcoind's publisher and what hears it, made with the first input. */
class Published {
  readonly #publisher = new Publisher({ linger: 0 })
  readonly #feed: ZmqFeed
  #transactions = 0
  #isOpen = false

  constructor() {
    const nothing = () => {}
    const onRawTx = () => void this.#transactions++
    this.#feed = new ZmqFeed({
      onBlock: nothing,
      onRawBlock: nothing,
      onMempoolEvent: nothing,
      onGap: nothing,
      onRawTx,
    })
  }

  /** Publishes `frames`, then a transaction, and waits until that one has been heard. */
  async say(frames: Buffer[]): Promise<void> {
    if (!this.#isOpen) {
      await this.#publisher.bind('tcp://127.0.0.1:*')
      const address = this.#publisher.lastEndpoint!
      const offered = ['pubsequence', 'pubrawtx', 'pubrawblock'].map((type) => ({ type, address, hwm: 1_000 }))
      await this.#feed.listen(offered, '127.0.0.1')
      this.#isOpen = true
    }
    const before = this.#transactions
    await this.#publisher.send(frames)
    await waitUntil(
      'the next message is heard',
      async () => {
        await this.#publisher.send(['rawtx', Buffer.alloc(10), Buffer.alloc(4)])
        return this.#transactions > before
      },
      { everyMs: 1 },
    )
  }

  async close(): Promise<void> {
    await this.#feed.close()
    this.#publisher.close()
  }
}

let published: Published | undefined

const zmq: Target = {
  name: 'zmq',
  seeds: ['A', 'R', 'C', 'D'].map((letter) =>
    Buffer.concat([Buffer.alloc(32, 7), Buffer.from(letter), Buffer.alloc(8, 1)]),
  ),
  async take(input, chance) {
    published ??= new Published()
    const topic = Buffer.from(chance.pick(['sequence', 'rawtx', 'rawblock', 'hashblock', 'hashtx', 'sequencer']))
    const counter = chance.bytes(chance.oneIn(4) ? chance.below(9) : 4)
    await published.say(
      [topic, input, counter, ...(chance.oneIn(5) ? [chance.bytes(3)] : [])].slice(0, 1 + chance.below(4)),
    )
  },
  async close() {
    await published?.close()
    published = undefined
  },
}

export const SOCKET_TARGETS = [control, zmq]

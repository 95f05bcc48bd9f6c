/**
 * Who is connected over HTTP: each has a place and an allowance, by the rules of the wire. Who only connects, or holds
 * event streams that it doesn't read, keeps nobody from asking whether we are well.
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Slots } from '../wire/slots.ts'
import type { Lane, Work } from '../wire/work.ts'

export class Visitors {
  readonly #slots: Slots<Socket>
  readonly #lanes = new WeakMap<Socket, Lane>()

  /** Looks after the connections of `server`, at most `max` at once. */
  constructor(server: Server, max: number, work: Work, random: () => number) {
    this.#slots = new Slots(max, random)
    server.on('connection', (socket: Socket) => {
      const gone = new AbortController()
      this.#lanes.set(socket, work.lane(gone.signal))
      socket.once('close', () => {
        this.#slots.remove(socket)
        gone.abort(new DOMException('the client has gone', 'AbortError'))
      })
      this.#slots.add(socket)?.victim.destroy()
    })
  }

  get size(): number {
    return this.#slots.size
  }

  /** By which the client on `socket` has its work done. */
  laneOf(socket: Socket): Lane {
    return this.#lanes.get(socket)!
  }

  /** It has sent a request. */
  noteAsked(socket: Socket): void {
    if (this.#slots.groupOf(socket) === 'silent') this.#slots.move(socket, 'asked')
  }
}

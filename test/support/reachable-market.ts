/**
 * A regtest market whose makers are found by their onions: bonds of today's format, real maker servers, and in Tor's place
 * a SOCKS proxy that knows where each onion is. Our own onion leads to the tracker, so that its canary is green.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bondKey } from '../sandbox/bond-key.ts'
import { type MakerPlan, type MakerServer, serveMaker } from '../sandbox/maker-server.ts'
import { freePorts } from '../sandbox/ports.ts'
import type { BondPlan, FundedBond, Regtest } from '../sandbox/regtest.ts'
import { Tracker, type TrackerOptions } from '../sandbox/tracker.ts'
import { onionHost } from './onions.ts'
import { SocksProxy } from './socks-proxy.ts'

/** By what name trackers are reached, unless a test says else. */
const TRACKER = 'tracker'

export class ReachableMarket implements AsyncDisposable {
  readonly node: Regtest
  /** By name. */
  readonly bonds = new Map<string, FundedBond>()
  readonly socks: SocksProxy
  readonly #dir = mkdtempSync(join(tmpdir(), 'ft-market-'))
  readonly #ports: Map<string, number>
  readonly #makers = new Map<string, MakerServer>()

  private constructor(node: Regtest, socks: SocksProxy, ports: Map<string, number>) {
    this.node = node
    this.socks = socks
    this.#ports = ports
  }

  static async start(node: Regtest): Promise<ReachableMarket> {
    const ports = new Map<string, number>()
    const socks = await SocksProxy.start(({ host }) => ports.get(host))
    return new ReachableMarket(node, socks, ports)
  }

  /** Announces a bond for each name, in one block. */
  async announce(names: readonly string[], plan: Partial<BondPlan> = {}): Promise<void> {
    for (const name of names) {
      const address = `${onionHost(name)}:21`
      this.bonds.set(name, await this.node.fundBond({ key: bondKey(name), format: 'D', address, ...plan }))
    }
    await this.node.mine(1)
  }

  /** Lets makers answer whose bond was confirmed in the last block. */
  async serve(names: readonly string[], plan: MakerPlan = {}): Promise<void> {
    const confHeight = await this.node.height()
    for (const name of names) {
      const bond = { ...this.bonds.get(name)!, confHeight, certAddress: onionHost(name) }
      const maker = await serveMaker({
        ...plan,
        listenPort: 0,
        bond,
        otherKey: bondKey(name, 1),
        pongAddress: bond.address,
      })
      this.#makers.set(name, maker)
      this.#ports.set(onionHost(name), maker.port)
    }
  }

  /** Somebody else whom our Tor reaches by this name. */
  lead(host: string, port: number): void {
    this.#ports.set(host, port)
  }

  /** Their onions lead nowhere from now on. */
  silence(...names: readonly string[]): void {
    for (const name of names) this.#ports.delete(onionHost(name))
  }

  txid(name: string): string {
    return this.bonds.get(name)!.txid
  }

  /** A tracker behind this Tor. */
  async tracker(args: readonly string[], options: TrackerOptions = {}, name = TRACKER): Promise<Tracker> {
    const [port] = await freePorts(1)
    const hostname = join(this.#dir, `hostname-${name}`)
    writeFileSync(hostname, `${onionHost(name)}\n`)
    this.#ports.set(onionHost(name), port!)
    const tor = ['--onion-hostname-file', hostname, '--socks-port', `127.0.0.1:${this.socks.address.port}`]
    return Tracker.start(this.node, {
      port: port!,
      http: true,
      args: [...tor, '--probe-interval', '2', ...args],
      ...options,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const maker of this.#makers.values()) await maker[Symbol.asyncDispose]()
    await this.socks[Symbol.asyncDispose]()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

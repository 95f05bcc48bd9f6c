/**
 * Containers of a compose file (compose.ts), from built images (images.ts), run by Docker's runtime: runc. Each with its own
 * processes, mounts, network addresses and limits, as the file says. They are on a machine of their own, made of namespaces:
 * its networks are bridges there, it has no way out, and it ends with this process, however that ends. As root only.
 *
 * What Docker does and this doesn't: its seccomp profile, `init`, restarts, the schedule of health checks, DNS, and NAT for
 * networks that are not internal. Every root is read-only, whether the file asks for it or not: containers share it.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tempDir } from '../support/temp-dir.ts'
import type { Compose, Service } from './compose.ts'
import type { Image } from './images.ts'
import { type Ended, toItsEnd } from './to-its-end.ts'

const run = promisify(execFile)

export interface Upping {
  image: Image
  /** Behind the file's command. */
  args?: readonly string[]
  /** In place of the file's. */
  env?: Readonly<Record<string, string>>
  /** Folders of this machine, by where the container has them, read-only. */
  folders?: Readonly<Record<string, string>>
  /** The volumes are given to the image's user, as some images do it themselves at their start. */
  givesVolumes?: boolean
}

export class Containers implements AsyncDisposable {
  readonly #dir = tempDir()
  readonly #compose: Compose
  readonly #machine: ChildProcess
  readonly #networks = new Map<string, { gateway: string; prefix: string }>()
  readonly #connected = new Set<string>()
  readonly #running = new Set<Container>()

  private constructor(compose: Compose) {
    this.#compose = compose
    const start = 'mount -t tmpfs tmpfs /run && ip link set lo up && echo up && exec sleep infinity'
    const alone = ['--net', '--pid', '--mount', '--mount-proc', '--fork', '--kill-child']
    this.#machine = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...alone, 'sh', '-c', start], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  }

  /** The machine with the file's networks, and nothing on it yet. */
  static async of(compose: Compose): Promise<Containers> {
    const containers = new Containers(compose)
    await once(containers.#machine.stdout!, 'data')
    for (const [name, { ipam }] of Object.entries(compose.networks)) {
      const prefix = (ipam?.config[0].subnet ?? '192.0.2.0/24').replace(/\.0\/24$/, '')
      const gateway = `${prefix}.1`
      await containers.#ip('link', 'add', bridgeOf(name), 'type', 'bridge')
      await containers.#ip('addr', 'add', `${gateway}/24`, 'dev', bridgeOf(name))
      await containers.#ip('link', 'set', bridgeOf(name), 'up')
      containers.#networks.set(name, { gateway, prefix })
    }
    return containers
  }

  /** Starts a service of the file; returns as soon as it runs. */
  async up(name: string, upping: Upping): Promise<Container> {
    const service = this.#serviceOf(name)
    await this.connect(name)
    const bundle = join(this.#dir.path, name)
    mkdirSync(bundle, { recursive: true })
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(this.#configOf(name, service, upping)), { mode: 0o600 })
    const id = `ft-${process.pid}-${name}`
    const [program, ...args] = this.within(...this.#runc, 'run', '--bundle', bundle, id)
    const container = new Container(id, spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] }), (...command) =>
      this.run(...this.#runc, ...command),
    )
    this.#running.add(container)
    return container
  }

  /** Gives a service its addresses without starting it: something else is to have them. */
  async connect(name: string): Promise<void> {
    if (this.#connected.has(name)) return
    this.#connected.add(name)
    await this.#ip('netns', 'add', name)
    await this.#ip('-n', name, 'link', 'set', 'lo', 'up')
    for (const [index, [network, { ipv4_address }]] of Object.entries(this.#serviceOf(name).networks).entries()) {
      const { prefix, gateway } = this.#networks.get(network)!
      const far = `v${this.#connected.size}-${index}`
      const device = `eth${index}`
      await this.#ip('link', 'add', far, 'type', 'veth', 'peer', 'name', device, 'netns', name)
      await this.#ip('link', 'set', far, 'master', bridgeOf(network), 'up')
      const address = ipv4_address ?? `${prefix}.${100 + this.#connected.size}`
      await this.#ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', device)
      await this.#ip('-n', name, 'link', 'set', device, 'up')
      if (!this.#compose.networks[network]!.internal) {
        await this.#ip('-n', name, 'route', 'add', 'default', 'via', gateway)
      }
    }
  }

  /** A command of ours on that machine. */
  within(...command: string[]): string[] {
    return ['nsenter', `--target=${this.#pid}`, '--net', '--pid', '--mount', ...command]
  }

  /** A command of this machine, with a service's addresses. */
  withAddressesOf(name: string, ...command: string[]): string[] {
    return ['nsenter', `--net=/proc/${this.#pid}/root/run/netns/${name}`, ...command]
  }

  /** Runs a command on that machine to its end. */
  run(...command: string[]): Promise<Ended> {
    return toItsEnd(this.within(...command))
  }

  /** Where a named volume is on this machine. */
  volume(name: string): string {
    return join(this.#dir.path, 'volumes', name)
  }

  get #pid(): number {
    const { pid } = this.#machine
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'))
  }

  get #runc(): string[] {
    return ['runc', '--root', join(this.#dir.path, 'runc')]
  }

  #serviceOf(name: string): Service {
    const service = this.#compose.services[name]
    if (!service) throw new Error(`the compose file has no service ${name}`)
    return service
  }

  async #ip(...args: string[]): Promise<void> {
    const [program, ...rest] = this.within('ip', ...args)
    await run(program!, rest)
  }

  /** As the OCI's runtime specification has it: https://github.com/opencontainers/runtime-spec */
  #configOf(
    name: string,
    service: Service,
    { image, args = [], env = {}, folders = {}, givesVolumes }: Upping,
  ): object {
    const { uid, gid } = image.user
    const capabilities = service.cap_drop.includes('ALL') ? service.cap_add.map((cap) => `CAP_${cap}`) : undefined
    if (!capabilities) throw new Error(`${name} keeps capabilities: cap_drop`)
    const effective = uid === 0 ? capabilities : []
    const volumes = service.volumes.map((volume) => {
      const [source, destination, mode = 'rw'] = volume.split(':')
      return bind(this.#volumeFor(source!, destination!, image, givesVolumes), destination!, mode)
    })
    const settings = { ...service.environment, ...env }
    return {
      ociVersion: '1.0.2',
      hostname: name,
      process: {
        user: { uid, gid, additionalGids: service.group_add.map(Number) },
        args: [
          ...(service.entrypoint ?? image.entrypoint),
          ...(service.command ?? (service.entrypoint ? [] : image.command)),
          ...args,
        ],
        env: [...image.env, ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)],
        cwd: image.workingDir,
        capabilities: { bounding: capabilities, permitted: effective, effective },
        noNewPrivileges: service.security_opt.includes('no-new-privileges:true'),
        rlimits: service.ulimits ? [{ type: 'RLIMIT_CORE', hard: 0, soft: 0 }] : [],
      },
      root: { path: image.rootfs, readonly: true },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        tmpfs('/dev', 'mode=755,size=64k'),
        { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
        tmpfs('/dev/shm', `mode=1777,size=${service.shm_size ?? 2 ** 26}`),
        { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['ro'] },
        ...service.tmpfs.map((text) => tmpfs(...(text.split(':') as [string, string]))),
        ...volumes,
        ...Object.entries(folders).map(([destination, source]) => bind(source, destination, 'ro')),
      ],
      linux: {
        namespaces: [
          ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
          { type: 'network', path: `/run/netns/${name}` },
        ],
        resources: {
          devices: [{ allow: false, access: 'rwm' }],
          ...(service.mem_limit !== undefined && { memory: { limit: service.mem_limit } }),
          ...(service.pids_limit !== undefined && { pids: { limit: service.pids_limit } }),
        },
        maskedPaths: ['/proc/kcore', '/proc/keys', '/sys/firmware'],
        readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      },
    }
  }

  /** A new one begins as what the image has there, owner and mode included, as Docker does it. */
  #volumeFor(name: string, path: string, image: Image, givesVolumes = false): string {
    if (!(name in this.#compose.volumes)) throw new Error(`the compose file has no volume ${name}`)
    const folder = this.volume(name)
    if (existsSync(folder)) return folder
    mkdirSync(join(folder, '..'), { recursive: true })
    const found = join(image.rootfs, path)
    // cp, as Node's keeps no owner.
    if (existsSync(found)) execFileSync('cp', ['-a', found, folder])
    else mkdirSync(folder)
    if (givesVolumes) chownSync(folder, image.user.uid, image.user.gid)
    return folder
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const container of this.#running) await container.kill()
    const gone = once(this.#machine, 'exit')
    this.#machine.kill('SIGKILL')
    await gone
    this.#dir[Symbol.dispose]()
  }
}

export class Container {
  readonly id: string
  log = ''
  readonly #process: ChildProcess
  readonly #exited: Promise<number>
  readonly #runc: (...command: string[]) => Promise<Ended>

  constructor(id: string, process: ChildProcess, runc: (...command: string[]) => Promise<Ended>) {
    this.id = id
    this.#process = process
    this.#runc = runc
    for (const stream of [process.stdout!, process.stderr!]) {
      stream.on('data', (chunk) => {
        this.log += chunk
      })
    }
    this.#exited = once(process, 'close').then(([code]) => Number(code ?? -1))
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null
  }

  /** As `docker compose exec`. */
  exec(...command: string[]): Promise<Ended> {
    return this.#runc('exec', this.id, ...command)
  }

  /** As `docker stop`, but that it waits for as long as it takes; returns the exit code. */
  async stop(): Promise<number> {
    await this.#runc('kill', this.id, 'TERM')
    return await this.#exited
  }

  exited(): Promise<number> {
    return this.#exited
  }

  async kill(): Promise<void> {
    if (this.isRunning) await this.#runc('kill', this.id, 'KILL')
    await this.#exited
  }
}

const bridgeOf = (network: string) => `br-${network}`

function bind(source: string, destination: string, mode: string): object {
  return { destination, type: 'bind', source, options: ['rbind', mode, 'nosuid', 'nodev'] }
}

function tmpfs(destination: string, options: string): object {
  return { destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', ...options.split(',')] }
}

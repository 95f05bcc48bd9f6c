/**
 * Container images, built by buildah from the Dockerfiles that are delivered. There is no registry: a Debian made by
 * debootstrap, with Node and npm in it, stands for each image that a Dockerfile begins with, under the name it has there.
 * All of it is in a folder of its own and goes with it; buildah runs as root, without an engine (chroot isolation).
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { tempDir } from '../support/temp-dir.ts'

const run = promisify(execFile)
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'

/** What Debian's slim images leave out, too. */
const NOT_IN_SLIM = [
  'usr/share/doc',
  'usr/share/info',
  'usr/share/locale',
  'usr/share/man',
  'var/cache',
  'var/lib/apt/lists',
]

/** As an engine needs to know it. */
export interface Image {
  /** A folder on this machine; containers have it read-only. */
  rootfs: string
  entrypoint: readonly string[]
  command: readonly string[]
  env: readonly string[]
  user: { uid: number; gid: number }
  workingDir: string
  healthCheck: readonly string[] | undefined
}

interface Inspected {
  Docker: {
    config: {
      Entrypoint?: string[]
      Cmd?: string[]
      Env?: string[]
      User?: string
      WorkingDir?: string
      Healthcheck?: { Test: string[] }
    }
  }
}

export class ImageStore implements AsyncDisposable {
  readonly #dir = tempDir()
  #driver: 'overlay' | 'vfs' = 'overlay'

  /** A Debian with Node, under each of these names. */
  static async with(names: readonly string[]): Promise<ImageStore> {
    const store = new ImageStore()
    try {
      await store.#standIn(names)
    } catch (error) {
      await store[Symbol.asyncDispose]()
      throw error
    }
    return store
  }

  async #standIn(names: readonly string[]): Promise<void> {
    const base = process.env.DEBIAN_BASE
    const node = process.env.CONTAINER_NODE
    if (base === undefined || node === undefined) {
      throw new Error('DEBIAN_BASE and CONTAINER_NODE are not set: run scripts/test.sh, which brings both')
    }
    // vfs copies every layer; overlay can't be upon another overlay, as in a container.
    await this.#buildah('images').catch(() => {
      this.#driver = 'vfs'
    })
    const container = await this.#buildah('from', '--name', 'base', 'scratch')
    const root = await this.#buildah('mount', container)
    const at = (path: string) => join(root, path)
    await run('tar', ['-xf', base, '-C', root, ...NOT_IN_SLIM.map((path) => `--exclude=./${path}/*`)])
    await run('cp', [join(node, 'bin/node'), at('usr/local/bin/node')])
    mkdirSync(at('usr/local/lib/node_modules'), { recursive: true })
    await run('cp', ['-R', join(node, 'npm'), at('usr/local/lib/node_modules/npm')])
    for (const name of ['npm', 'npx']) {
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, at(`usr/local/bin/${name}`))
    }
    // The registry may be one that this machine alone knows, by an authority of its own.
    const mirror = process.env.npm_config_registry
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      ...(existsSync(AUTHORITIES) && { NODE_EXTRA_CA_CERTS: AUTHORITIES }),
      ...(mirror !== undefined && { npm_config_registry: mirror }),
    }
    if (existsSync(AUTHORITIES)) {
      mkdirSync(dirname(at(AUTHORITIES)), { recursive: true })
      await run('cp', [AUTHORITIES, at(AUTHORITIES)])
    }
    const settings = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`])
    await this.#buildah('config', ...settings, container)
    const [first, ...others] = names.map((name) => `docker.io/library/${name}`)
    await this.#buildah('commit', '--quiet', '--rm', container, first!)
    for (const name of others) await this.#buildah('tag', first!, name)
  }

  /** As `docker build -f <dockerfile> -t <name> <context>`. */
  async build(name: string, dockerfile: string, context: string): Promise<void> {
    const own = ['--pull-never', '--network', 'host', '--format', 'docker']
    await this.#buildah('bud', '--quiet', ...own, '-f', join(context, dockerfile), '-t', name, context)
  }

  /** Unpacked, with what its Dockerfile says of it. */
  async open(name: string): Promise<Image> {
    const container = await this.#buildah('from', '--pull-never', name)
    const rootfs = await this.#buildah('mount', container)
    const { Docker }: Inspected = JSON.parse(await this.#buildah('inspect', '--type', 'image', name))
    const { Entrypoint, Cmd, Env, User, WorkingDir, Healthcheck } = Docker.config
    const [uid, gid] = (User || '0:0').split(':').map(Number)
    const [kind, ...check] = Healthcheck?.Test ?? []
    if (kind !== undefined && kind !== 'CMD') throw new Error(`${name}: a health check by ${kind}`)
    return {
      rootfs,
      entrypoint: Entrypoint ?? [],
      command: Cmd ?? [],
      env: Env ?? [],
      user: { uid: uid!, gid: gid! },
      workingDir: WorkingDir || '/',
      healthCheck: kind === undefined ? undefined : check,
    }
  }

  async #buildah(...args: string[]): Promise<string> {
    const at = (folder: string) => join(this.#dir.path, this.#driver, folder)
    const store = ['--root', at('images'), '--runroot', at('run'), '--storage-driver', this.#driver]
    const { stdout } = await run('buildah', [...store, ...args], {
      env: { ...process.env, TMPDIR: this.#dir.path, BUILDAH_ISOLATION: 'chroot' },
    })
    return stdout.trim()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#buildah('umount', '--all')
    this.#dir[Symbol.dispose]()
  }
}

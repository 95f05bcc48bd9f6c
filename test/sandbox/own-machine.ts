/**
 * A machine of one's own: this one's root file system with all changes kept in memory, a network of nothing but loopback,
 * and processes of its own. What is done there, users, files of /etc, ports, is gone with it. Root alone can make one.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { dirname } from 'node:path'
import { tempDir } from '../support/temp-dir.ts'

const UNSHARE = ['--mount', '--net', '--pid', '--fork', '--kill-child']

/** $1: an empty folder; $2: what runs; the rest: folders that are there as they are, for reading. */
const ENTER = `
set -e
mount --make-rprivate /
root=$1/root program=$2
shift 2
mount -t tmpfs -o mode=755 none "\${root%/root}"
mkdir "\${root%/root}/upper" "\${root%/root}/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=\${root%/root}/upper,workdir=\${root%/root}/work" "$root"
mount -t tmpfs -o mode=1777 none "$root/tmp"
mount -t tmpfs -o mode=755 none "$root/run"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for folder; do
  mkdir -p "$root$folder"
  mount --rbind "$folder" "$root$folder"
  mount -o remount,bind,ro "$root$folder"
done
ip link set lo up
exec chroot "$root" sh -c "$program"`

/** Undefined where this process may make one; else why not. */
export function whyNoOwnMachine(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can make a machine of its own'
  const { status, stderr } = spawnSync('unshare', [...UNSHARE, 'mount', '--make-rprivate', '/'], { encoding: 'utf8' })
  return status === 0 ? undefined : `no namespaces here: ${stderr.trim()}`
}

/** Runs a TypeScript file on such a machine to its end; returns what it wrote to standard output. `folders` are there as they are. */
export async function onOwnMachine(file: string, folders: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  using dir = tempDir()
  const node = process.execPath
  const program = `exec ${JSON.stringify(node)} ${JSON.stringify(file)}`
  const command = [
    'unshare',
    ...UNSHARE,
    'sh',
    '-c',
    ENTER,
    'sh',
    dir.path,
    program,
    dirname(dirname(node)),
    ...folders,
  ]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['ignore', 'pipe', 'inherit'], env })
  let stdout = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${stdout.slice(-2_000)}`)
  return stdout
}

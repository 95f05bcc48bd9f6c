/** What the daemon holds while nobody wants anything of it: memory, handles, open files. */
import { readdirSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Tracker } from '../../test/sandbox/tracker.ts'
import { waitUntil } from '../../test/sandbox/wait.ts'
import { rssMb } from '../bench/process.ts'
import type { Collector } from './collector.ts'

export interface Held {
  rssMb: number
  heapMb: number
  /** Sockets, servers, timers and requests of libuv that Node counts. */
  handles: number
  resources: number
  /** Open files of the process. */
  files: number
}

const SAMPLES = 6
const EVERY_MS = 400
/** Until whoever has gone is gone here, too: a reader that never read is cut off after a minute. */
const GONE_MS = 150_000

/** Waits until `connections` clients are left. Of some looks the least: a probe on its way is no leak. */
export async function heldAtRest(tracker: Tracker, collector: Collector, connections: number): Promise<Held> {
  await waitUntil(
    `${connections} clients are left`,
    async () => (await metrics(tracker)).get('fidelity_tracker_connections') === connections,
    { timeoutMs: GONE_MS, everyMs: 200 },
  )
  await collector.collect()
  const looks: Held[] = []
  for (let i = 0; i < SAMPLES; i++) {
    looks.push(await look(tracker))
    await pause(EVERY_MS)
  }
  const least = (of: keyof Held) => Math.min(...looks.map((one) => one[of]))
  return {
    rssMb: least('rssMb'),
    heapMb: least('heapMb'),
    handles: least('handles'),
    resources: least('resources'),
    files: least('files'),
  }
}

async function look(tracker: Tracker): Promise<Held> {
  const values = await metrics(tracker)
  return {
    rssMb: rssMb(tracker.pid),
    heapMb: values.get('nodejs_heap_size_used_bytes')! / 1_048_576,
    handles: values.get('nodejs_active_handles_total')!,
    resources: values.get('nodejs_active_resources_total')!,
    files: readdirSync(`/proc/${tracker.pid}/fd`).length,
  }
}

/** Those without labels, by name. */
async function metrics({ httpPort }: Tracker): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${httpPort}/metrics`, { headers: { connection: 'close' } })
  const lines = (await response.text()).matchAll(/^(\w+) (\S+)$/gm)
  return new Map([...lines].map(([, name, value]) => [name!, Number(value)]))
}

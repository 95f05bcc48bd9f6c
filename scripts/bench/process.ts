/** What another process of this machine uses, from /proc. */
import { readFileSync } from 'node:fs'

/** Resident memory. */
export function rssMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

/** The most it ever had. */
export function peakRssMb(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

/** What it has written so far, in megabytes: as it asked for, and what went to the disk (nothing where that is memory). */
export function writtenMb(pid: number): { asked: number; disk: number } {
  const io = readFileSync(`/proc/${pid}/io`, 'utf8')
  const mb = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)![1]) / 1e6
  return { asked: mb('wchar'), disk: mb('write_bytes') }
}

/** Processor time of all its threads, user and system. */
export function cpuS(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Processor time of the thread that serves, so far, ms. */
export function mainThreadMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

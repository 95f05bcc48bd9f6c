/** Ways in which a database gets damaged, by page and by byte; always the same ones. */
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import Database from 'better-sqlite3'

export const PAGE_BYTES = 4_096

/** Copies database and WAL. */
export function copyDatabase(from: string, to: string): void {
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(to + suffix, { force: true })
    if (suffix !== '-shm' && existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix)
  }
}

/** Changes the file's bytes in place. */
export function damage(file: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(file)
  change(bytes)
  writeFileSync(file, bytes)
}

/** Numbers of the pages of a table or index, root first. */
export function pagesOf(file: string, name: string): number[] {
  const db = new Database(file, { readonly: true })
  try {
    return db.prepare('SELECT pageno FROM dbstat WHERE name = ? ORDER BY path').pluck().all(name) as number[]
  } finally {
    db.close()
  }
}

export function overwritePages(file: string, pages: readonly number[], byte = 0xff): void {
  damage(file, (bytes) => {
    for (const page of pages) bytes.fill(byte, (page - 1) * PAGE_BYTES, page * PAGE_BYTES)
  })
}

/** Whole numbers below `n`, the same sequence for the same seed. */
export function dice(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return Math.floor((state / 0x80000000) * n)
  }
}

/** `count` bytes somewhere in [from, to) become others. */
export function flip(file: string, from: number, to: number, count: number, seed: number): void {
  const roll = dice(seed)
  damage(file, (bytes) => {
    const end = Math.min(to, bytes.length)
    for (let i = 0; i < count && end > from; i++) bytes[from + roll(end - from)] = roll(256)
  })
}

/**
 * The records of an SQLite file, read page by page without SQLite: for a file too damaged for it. Every page of a b-tree
 * that holds records is read by itself, so that one destroyed costs its own records and no others; which table they are
 * of is for the reader to tell by their shape. Source: https://www.sqlite.org/fileformat2.html, 1.3 to 4.2.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'

const LIMITS = {
  /** A transaction takes 4 MB at the most; a longer payload is damage. */
  payloadBytes: 8_388_608,
}

const MAGIC = 'SQLite format 3\0'
const DEFAULT_PAGE_BYTES = 4_096
const WAL_HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
/** Types of b-tree pages that hold records. */
const INDEX_INTERIOR = 0x02
const INDEX_LEAF = 0x0a
const TABLE_LEAF = 0x0d

export type SqlValue = null | number | bigint | string | Buffer

export interface PageRecord {
  /** `table`: of a table with rowids; `index`: of one without, or of an index. */
  kind: 'table' | 'index'
  /** Of a `table` record. */
  rowid: number | bigint | undefined
  values: SqlValue[]
}

/** What was read, and how much of it made no sense. */
export interface PagesRead {
  pages: number
  /** Pages that call themselves b-tree pages and hold something that is no record. */
  damagedPages: number
}

/** Calls `onRecord` with every record of the database `path` and its WAL that can be read, whatever table it is of. */
export function readPages(path: string, onRecord: (record: PageRecord) => void): PagesRead {
  using file = new PageFile(path)
  const free = freePages(file)
  let damagedPages = 0
  for (let number = 1; number <= file.count; number++) {
    const page = free.has(number) ? undefined : file.page(number)
    if (page && !readPage(file, page, number, onRecord)) damagedPages++
  }
  return { pages: file.count, damagedPages }
}

/** The pages of a database as its last commit left them: those of the WAL over those of the file. */
class PageFile implements Disposable {
  readonly pageBytes: number
  /** Without what is reserved at the end of each page. */
  readonly usableBytes: number
  readonly count: number
  /** Whether the file's first bytes are those of a database. */
  readonly hasHeader: boolean
  readonly #fd: number
  readonly #walFd: number | undefined
  /** Page number → where the WAL has it. */
  readonly #inWal: ReadonlyMap<number, number>

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.#walFd = existsSync(`${path}-wal`) ? openSync(`${path}-wal`, 'r') : undefined
    const wal = this.#walFd === undefined ? undefined : readWal(this.#walFd)
    this.#inWal = wal?.pages ?? new Map()
    const header = readAt(this.#fd, 0, 100) ?? Buffer.alloc(100)
    this.hasHeader = header.toString('latin1', 0, 16) === MAGIC
    const told = header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16)
    this.pageBytes = wal?.pageBytes ?? (this.hasHeader && isPageSize(told) ? told : DEFAULT_PAGE_BYTES)
    const reserved = this.hasHeader ? header[20]! : 0
    this.usableBytes = this.pageBytes - (this.pageBytes - reserved >= 480 ? reserved : 0)
    const inFile = Math.floor(fstatSync(this.#fd).size / this.pageBytes)
    this.count = Math.max(inFile, ...(this.#inWal.size > 0 ? [highest(this.#inWal.keys())] : []))
  }

  page(number: number): Buffer | undefined {
    const inWal = this.#inWal.get(number)
    return inWal === undefined
      ? readAt(this.#fd, (number - 1) * this.pageBytes, this.pageBytes)
      : readAt(this.#walFd!, inWal, this.pageBytes)
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
    if (this.#walFd !== undefined) closeSync(this.#walFd)
  }
}

function isPageSize(bytes: number): boolean {
  return bytes >= 512 && bytes <= 65_536 && (bytes & (bytes - 1)) === 0
}

function highest(numbers: Iterable<number>): number {
  let max = 0
  for (const number of numbers) max = Math.max(max, number)
  return max
}

/** `bytes` of the file from `at`; undefined where it ends before. */
function readAt(fd: number, at: number, bytes: number): Buffer | undefined {
  const buffer = Buffer.allocUnsafe(bytes)
  return readSync(fd, buffer, 0, bytes, at) === bytes ? buffer : undefined
}

/**
 * The newest committed version of every page in a WAL (4.1 to 4.5). A frame's checksum continues that of the frame before
 * it, as stored there: so each is judged by itself, and what follows a damaged one is not lost.
 */
function readWal(fd: number): { pageBytes: number; pages: Map<number, number> } | undefined {
  const header = readAt(fd, 0, WAL_HEADER_BYTES)
  if (!header || (header.readUInt32BE(0) & 0xfffffffe) >>> 0 !== 0x377f0682) return undefined
  const isBigEndian = (header.readUInt32BE(0) & 1) === 1
  const pageBytes = header.readUInt32BE(8)
  if (!isPageSize(pageBytes)) return undefined
  const pages = new Map<number, number>()
  /** Since the last commit. */
  const open = new Map<number, number>()
  let before: Checksum = [header.readUInt32BE(24), header.readUInt32BE(28)]
  for (let at = WAL_HEADER_BYTES; ; at += FRAME_HEADER_BYTES + pageBytes) {
    const frame = readAt(fd, at, FRAME_HEADER_BYTES + pageBytes)
    if (!frame) return { pageBytes, pages }
    const stored: Checksum = [frame.readUInt32BE(16), frame.readUInt32BE(20)]
    const isOfThisRound = frame.compare(header, 16, 24, 8, 16) === 0 // salts
    const sum = checksum(
      checksum(before, frame.subarray(0, 8), isBigEndian),
      frame.subarray(FRAME_HEADER_BYTES),
      isBigEndian,
    )
    before = stored
    if (!isOfThisRound || sum[0] !== stored[0] || sum[1] !== stored[1]) continue
    open.set(frame.readUInt32BE(0), at + FRAME_HEADER_BYTES)
    if (frame.readUInt32BE(4) === 0) continue // not the last of its transaction
    for (const [number, where] of open) pages.set(number, where)
    open.clear()
  }
}

type Checksum = [number, number]

function checksum([first, second]: Checksum, bytes: Buffer, isBigEndian: boolean): Checksum {
  let a = first
  let b = second
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    a = (a + (isBigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)) + b) >>> 0
    b = (b + (isBigEndian ? bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4)) + a) >>> 0
  }
  return [a, b]
}

/** Pages that were given up and still hold their old records (1.5). */
function freePages(file: PageFile): Set<number> {
  const free = new Set<number>()
  if (!file.hasHeader) return free
  const isPage = (number: number) => number > 1 && number <= file.count && !free.has(number)
  for (let trunk = file.page(1)?.readUInt32BE(32) ?? 0; isPage(trunk); ) {
    const page = file.page(trunk)
    if (!page) break
    free.add(trunk)
    const leaves = Math.min(page.readUInt32BE(4), file.usableBytes / 4 - 2)
    for (let i = 0; i < leaves; i++) {
      const leaf = page.readUInt32BE(8 + 4 * i)
      if (isPage(leaf)) free.add(leaf)
    }
    trunk = page.readUInt32BE(0)
  }
  // Not as many as the header says: the list is damaged, and what it names may well be in use.
  return free.size === file.page(1)?.readUInt32BE(36) ? free : new Set()
}

/** False when it calls itself a page of records and is not, or not in all its parts. */
function readPage(file: PageFile, page: Buffer, number: number, onRecord: (record: PageRecord) => void): boolean {
  const start = number === 1 ? 100 : 0
  const type = page[start]
  if (type !== TABLE_LEAF && type !== INDEX_LEAF && type !== INDEX_INTERIOR) return type === 0 || type === 0x05
  const cells = page.readUInt16BE(start + 3)
  const pointers = start + (type === INDEX_INTERIOR ? 12 : 8)
  if (pointers + 2 * cells > file.usableBytes) return false
  let isWhole = true
  for (let i = 0; i < cells; i++) {
    const record = readCell(file, page, page.readUInt16BE(pointers + 2 * i), type)
    if (record) onRecord(record)
    else isWhole = false
  }
  return isWhole
}

function readCell(file: PageFile, page: Buffer, at: number, type: number): PageRecord | undefined {
  if (at < 8 || at >= file.usableBytes) return undefined
  const size = varint(page, type === INDEX_INTERIOR ? at + 4 : at)
  if (!size || size.value > LIMITS.payloadBytes) return undefined
  const rowid = type === TABLE_LEAF ? varint(page, size.end) : undefined
  if (type === TABLE_LEAF && !rowid) return undefined
  const payload = readPayload(file, page, rowid?.end ?? size.end, Number(size.value), type === TABLE_LEAF)
  const values = payload && readRecord(payload)
  if (!values) return undefined
  return { kind: type === TABLE_LEAF ? 'table' : 'index', rowid: rowid?.value, values }
}

/** What is stored in the cell, and on as many overflow pages as it takes (1.6). */
function readPayload(file: PageFile, page: Buffer, at: number, size: number, isTable: boolean): Buffer | undefined {
  const usable = file.usableBytes
  const localMax = isTable ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23
  const localMin = Math.floor(((usable - 12) * 32) / 255) - 23
  if (size <= localMax) return at + size <= usable ? page.subarray(at, at + size) : undefined
  const fitting = localMin + ((size - localMin) % (usable - 4))
  const local = fitting <= localMax ? fitting : localMin
  if (at + local + 4 > usable) return undefined
  const parts = [page.subarray(at, at + local)]
  let next = page.readUInt32BE(at + local)
  for (let left = size - local; left > 0; left -= usable - 4) {
    const overflow = next > 1 && next <= file.count ? file.page(next) : undefined
    if (!overflow) return undefined
    parts.push(overflow.subarray(4, 4 + Math.min(left, usable - 4)))
    next = overflow.readUInt32BE(0)
  }
  return Buffer.concat(parts)
}

/** The values of a record (2.1); undefined when header and body don't fit together. */
function readRecord(payload: Buffer): SqlValue[] | undefined {
  const header = varint(payload, 0)
  if (!header || header.value > payload.length) return undefined
  const values: SqlValue[] = []
  let at = Number(header.value)
  for (let next = header.end; next < header.value; ) {
    const type = varint(payload, next)
    if (!type || type.value > 2 * LIMITS.payloadBytes + 13) return undefined
    next = type.end
    const found = readValue(payload, at, Number(type.value))
    if (!found) return undefined
    values.push(found.value)
    at = found.end
  }
  return at === payload.length ? values : undefined
}

/** Bytes of serial types 0 to 9. */
const BYTES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0]

function readValue(payload: Buffer, at: number, type: number): { value: SqlValue; end: number } | undefined {
  if (type === 10 || type === 11) return undefined
  const bytes = type < 12 ? BYTES[type]! : Math.floor((type - 12) / 2)
  const end = at + bytes
  if (end > payload.length) return undefined
  if (type >= 12) {
    const value = payload.subarray(at, end)
    return { value: type % 2 === 0 ? value : value.toString('utf8'), end }
  }
  if (type === 0) return { value: null, end }
  if (type === 7) return { value: payload.readDoubleBE(at), end }
  if (type >= 8) return { value: type - 8, end }
  return { value: type === 6 ? asNumber(payload.readBigInt64BE(at)) : payload.readIntBE(at, bytes), end }
}

/** A big-endian number of up to nine bytes (1.6), as a number where that is exact. */
function varint(bytes: Buffer, at: number): { value: number | bigint; end: number } | undefined {
  if (bytes[at]! < 0x80) return { value: bytes[at]!, end: at + 1 } // nearly all
  let value = 0n
  for (let i = 0; i < 9; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return undefined
    value = i === 8 ? (value << 8n) | BigInt(byte) : (value << 7n) | BigInt(byte & 0x7f)
    if (i === 8 || byte < 0x80) return { value: asNumber(BigInt.asIntN(64, value)), end: at + i + 1 }
  }
  return undefined
}

function asNumber(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

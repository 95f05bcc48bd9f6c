/**
 * What docker compose makes of compose files, as far as ours go: variables, anchors, `extends`, one file upon another. What
 * this doesn't know is refused. Only what a service is; nothing is started here (containers.ts).
 * Source: the Compose specification, https://github.com/compose-spec/compose-spec/blob/main/13-merge.md
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

const texts = z.array(z.string()).default([])

/** In bytes. */
const size = z
  .string()
  .regex(/^\d+[mg]$/)
  .transform((text) => Number.parseInt(text, 10) * (text.endsWith('g') ? 2 ** 30 : 2 ** 20))

const serviceSchema = z.strictObject({
  build: z.strictObject({ context: z.string(), dockerfile: z.string() }).optional(),
  image: z.string(),
  profiles: texts,
  depends_on: texts,
  restart: z.enum(['unless-stopped', 'on-failure']).optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  group_add: z.array(z.string().regex(/^\d+$/)).default([]),
  /** `<named volume>:<path>`, and `:ro` or nothing. */
  volumes: z.array(z.string().regex(/^[\w-]+:\/[\w/.-]+(:ro)?$/)).default([]),
  tmpfs: z.array(z.string().regex(/^\/[\w/]+:size=\d+m,mode=\d+$/)).default([]),
  networks: z.record(z.string(), z.strictObject({ ipv4_address: z.string().optional() })).default({}),
  network_mode: z.literal('none').optional(),
  ports: texts,
  read_only: z.boolean().default(false),
  cap_drop: texts,
  cap_add: texts,
  security_opt: texts,
  init: z.boolean().default(false),
  stop_grace_period: z.string().optional(),
  mem_limit: size.optional(),
  shm_size: size.optional(),
  pids_limit: z.number().int().optional(),
  ulimits: z.strictObject({ core: z.literal(0) }).optional(),
  logging: z.strictObject({ driver: z.literal('json-file'), options: z.record(z.string(), z.string()) }).optional(),
})

const composeSchema = z.strictObject({
  name: z.string().optional(),
  services: z.record(z.string(), serviceSchema),
  networks: z.record(
    z.string(),
    z.strictObject({
      internal: z.boolean().default(false),
      ipam: z.strictObject({ config: z.tuple([z.strictObject({ subnet: z.string() })]) }).optional(),
    }),
  ),
  volumes: z.record(z.string(), z.null()),
})

export type Service = z.infer<typeof serviceSchema>
export type Compose = z.infer<typeof composeSchema>

type Mapping = { [key: string]: unknown }

/** The files one upon another, with these variables. Throws, naming the place, on what compose refuses or this doesn't know. */
export function readCompose(files: readonly string[], env: Readonly<Record<string, string>>): Compose {
  return composeSchema.parse(files.map((file) => readFile(file, env)).reduce((below, above) => merge(below, above)))
}

/** One file, its services with what they extend. */
function readFile(file: string, env: Readonly<Record<string, string>>): Mapping {
  const read = interpolate(parse(readFileSync(file, 'utf8'), { merge: true }), env) as Mapping
  const services = Object.entries(read.services as Record<string, Mapping>).map(([name, service]) => {
    const { extends: base, ...own } = service
    if (base === undefined) return [name, own]
    const { file: other, service: of } = base as { file: string; service: string }
    const { services: found } = readFile(join(dirname(file), other), env) as { services: Record<string, Mapping> }
    return [name, merge(found[of]!, own)]
  })
  return { ...read, services: Object.fromEntries(services) }
}

/** `${NAME:?why}` in every text. */
function interpolate(value: unknown, env: Readonly<Record<string, string>>): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{(\w+):\?([^}]*)\}/g, (_, name, why) => {
      if (!env[name]) throw new Error(`${name}: ${why}`)
      return env[name]
    })
  }
  if (Array.isArray(value)) return value.map((item) => interpolate(item, env))
  if (!isMapping(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, env)]))
}

/** Mappings key by key; volumes by where they are mounted; other lists one behind the other, but commands. */
function merge(below: Mapping, above: Mapping): Mapping {
  const merged = { ...below }
  for (const [key, value] of Object.entries(above)) {
    const before = below[key]
    if (isMapping(before) && isMapping(value)) merged[key] = merge(before, value)
    else if (!Array.isArray(before) || !Array.isArray(value) || /^(command|entrypoint)$/.test(key)) merged[key] = value
    else if (key === 'volumes') merged[key] = [...new Map([...before, ...value].map((v) => [pathOf(v), v])).values()]
    else merged[key] = [...new Set([...before, ...value])]
  }
  return merged
}

const pathOf = (volume: string) => volume.split(':')[1]

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

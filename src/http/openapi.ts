/** OpenAPI 3.1 of everything served as JSON, made from the very schemas that check it. */
import { z } from 'zod'
import { CHANGES } from '../events/changes.ts'
import { STREAM_KINDS } from '../events/stream.ts'
import { components } from '../views/schemas/words.ts'
import { errorReply } from './replies.ts'
import { type AnyRoute, ROUTES } from './routes.ts'

type Json = Record<string, unknown>

export function openApiDocument(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'fidelity-tracker',
      version,
      description:
        'Fidelity bonds of coinswap makers, as this tracker sees them. Read only. Hashes are hex in display order, amounts satoshis, times Unix seconds.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [],
    tags: [
      { name: 'health', description: 'For supervisors and monitoring' },
      { name: 'api', description: 'For programs of the operator' },
    ],
    paths: {
      ...Object.fromEntries(ROUTES.map((route) => [route.path, { get: operation(route) }])),
      '/api/v1/events': { get: eventsOperation() },
      '/metrics': { get: metricsOperation() },
    },
    components: { schemas: componentSchemas() },
  }
}

/** `$ref` uri of a named schema. */
const uri = (id: string) => `#/components/schemas/${id}`

function componentSchemas(): Json {
  const { schemas } = z.toJSONSchema(components, {
    uri,
    override({ jsonSchema }) {
      // Of every whole number in JSON: it says nothing of ours.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
    },
  })
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withoutIdentity(schema as Json)]))
}

function withoutIdentity({ $id, $schema, id, ...schema }: Json): Json {
  return schema
}

function refTo(schema: z.ZodType): Json {
  const id = components.get(schema)?.id
  if (id === undefined) throw new TypeError('a reply without a name')
  return { $ref: uri(id) }
}

function operation({ name, about, path, params, query, reply, otherwise }: AnyRoute): Json {
  const json = (schema: z.ZodType, description: string) => ({
    description,
    content: { 'application/json': { schema: refTo(schema) } },
  })
  const why = { 404: 'Nothing is known of it', 503: 'Behind the chain: ask again later' }
  return {
    operationId: name,
    summary: about,
    tags: [path.startsWith('/health') ? 'health' : 'api'],
    parameters: [...parameters(params, 'path'), ...parameters(query, 'query')],
    responses: {
      200: json(reply, 'As asked'),
      ...(path.startsWith('/api') && { 400: json(errorReply, 'A parameter is wrong') }),
      ...(name === 'ready' && { 503: json(reply, 'Not ready') }),
      ...Object.fromEntries(otherwise.map((status) => [status, json(errorReply, why[status])])),
    },
  }
}

function parameters(schema: z.ZodType, where: 'path' | 'query'): Json[] {
  const { properties = {}, required = [] } = withoutIdentity(z.toJSONSchema(schema, { io: 'input' })) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: required.includes(name),
    schema: asParameter(property),
  }))
}

/** Numbers travel as text: say what the text means. */
function asParameter({ pattern, ...property }: Json): Json {
  if (property.maximum === undefined) return { ...property, ...(pattern !== undefined && { pattern }) }
  return { ...property, type: 'integer' }
}

function eventsOperation(): Json {
  const kinds = STREAM_KINDS.map((kind) => `\`${kind}\` (${components.get(CHANGES[kind])!.id})`)
  return {
    operationId: 'events',
    summary: 'What happens, as it happens: server-sent events',
    description: `Each event's data is one JSON object; kinds: ${kinds.join(', ')}. After a break read the lists again.`,
    tags: ['api'],
    parameters: [],
    responses: {
      200: {
        description: 'A stream that does not end',
        content: { 'text/event-stream': { schema: { type: 'string' } } },
      },
      503: {
        description: 'Too many streams are open',
        content: { 'application/json': { schema: refTo(errorReply) } },
      },
    },
  }
}

function metricsOperation(): Json {
  return {
    operationId: 'metrics',
    summary: 'Metrics in the Prometheus text format',
    tags: ['health'],
    parameters: [],
    responses: { 200: { description: 'As asked', content: { 'text/plain': { schema: { type: 'string' } } } } },
  }
}

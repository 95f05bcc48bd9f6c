/** node:test reporter: a line per test, a failure's cause below it and again at the end, `N passed, N failed` last. */
import { relative } from 'node:path'
import { inspect } from 'node:util'

export default async function* report(source) {
  let passed = 0
  const failures = []
  const skipped = []
  for await (const { type, data } of source) {
    if (type === 'test:stderr' || type === 'test:stdout') yield data.message
    if (type !== 'test:pass' && type !== 'test:fail') continue
    if (data.details?.type === 'suite') continue
    // A file without tests of its own is reported as one: it counts only when it failed.
    const isFile = data.nesting === 0 && data.file !== undefined && /\.test\.[jt]s$/.test(data.name)
    const where = data.file === undefined ? '' : `${relative(process.cwd(), data.file)} `
    const ms = Math.round(data.details?.duration_ms ?? 0)
    if (data.skip !== undefined || data.todo !== undefined) {
      skipped.push(`${where}› ${data.name}`)
    } else if (type === 'test:fail') {
      const error = data.details?.error
      const cause = inspect(error?.cause ?? error, { depth: 6, colors: false })
      failures.push({ name: `${where}› ${data.name}`, cause })
      yield `FAIL  ${where}› ${data.name} (${ms} ms)\n${cause.replace(/^/gm, '      ')}\n`
    } else if (!isFile) {
      passed++
      yield `ok    ${where}› ${data.name} (${ms} ms)\n`
    }
  }
  for (const { name, cause } of failures) yield `\n--- ${name}\n${cause}\n`
  for (const name of skipped) yield `skipped  ${name}\n`
  yield `\n${passed} passed, ${failures.length + skipped.length} failed\n`
  if (failures.length + skipped.length > 0) process.exitCode = 1
}

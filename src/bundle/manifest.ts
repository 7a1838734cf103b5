import {z} from 'zod'
import {InputError} from '../lib/errors.js'
import {runSchema} from '../run/record.js'

/** The one folder at the top of a bundle. */
export const TOP = 'patchbench-bundle'
export const MANIFEST = 'manifest.json'
export const SIGNATURE = 'manifest.json.sig'

/** What a bundle may have at most; one of ours has about 1500 files, of 12 MB in all. */
export const LIMIT = {archive: 64 << 20, bytes: 128 << 20, files: 8000, file: 32 << 20, manifest: 16 << 20, signature: 64 << 10}

const SCHEMA = 1

const verdict = z.enum(['shown', 'fixed', 'not-fixed', 'not-reproduced', 'regressed', 'flaky', 'could-not-run', 'restored', 'not-restored'])
const status = z.enum(['passed', 'failed', 'skipped', 'missing'])
const selftestStatus = z.enum(['passed', 'failed', 'skipped']).nullable()
const observed = (other: 'variant' | 'patched') => z.object({base: z.string(), [other]: z.string()})

/** A row of results.json, as far as two runs can be compared by it. */
const resultSchema = z.object({
  case: z.string(),
  kernel: z.string(),
  variant: z.enum(['base', 'patched', 'livepatched', 'reverted', 'ruleset']),
  candidate: z.string().nullable(),
  verdict,
  expected: verdict,
  reasons: z.array(z.string()),
  tests: z.array(z.object({name: z.string(), role: z.enum(['symptom', 'control']), claimed: z.boolean(), base: status, variant: status, observed: observed('variant')})),
  selftests: z.array(z.object({name: z.string(), base: selftestStatus, patched: selftestStatus, observed: observed('patched')})),
  repeats: z.number(),
  /** The folder of the bundle with what this cell left behind. */
  evidence: z.string(),
})

const fileSchema = z.strictObject({sha256: z.string().regex(/^[0-9a-f]{64}$/), size: z.number().int().min(0).max(LIMIT.file), executable: z.boolean().optional()})

/** manifest.json: what a bundle claims, what it was made with, and its files. */
const manifestSchema = z.strictObject({
  schema: z.literal(SCHEMA),
  /** The program in the bundle: the one that made it. */
  patchbench: z.strictObject({version: z.string()}),
  run: runSchema,
  results: z.array(resultSchema).min(1, 'expected at least one'),
  /** How the modules were made: SHA-256 by `case kernel livepatch`. */
  modules: z.record(z.string(), z.string()),
  /** What git calls each patched tree, by `case kernel candidate`. */
  trees: z.record(z.string(), z.string()),
  files: z.record(z.string(), fileSchema),
})

export type Manifest = z.infer<typeof manifestSchema>
export type Claim = Manifest['results'][number]
export type FileEntry = z.infer<typeof fileSchema>

/**
 * Reads a manifest, which is a stranger's.
 *
 * @throws InputError when it is none, of another schema, or names a path that has no business in a bundle
 */
export function parseManifest(text: string): Manifest {
  const data = json(text)
  const schema = typeof data === 'object' && data !== null && 'schema' in data ? data.schema : undefined
  if (schema !== SCHEMA) throw refused(`its manifest has schema ${JSON.stringify(schema) ?? 'none'}, and this patchbench reads ${SCHEMA}: a newer patchbench may read it`)
  const result = manifestSchema.safeParse(data)
  if (!result.success) {
    const [issue] = result.error.issues
    throw refused(`its manifest is not as the schema says: ${issue!.path.join('.') || 'all of it'}: ${issue!.message}`)
  }
  checkFiles(result.data.files)
  checkNames(result.data)
  return result.data
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw refused('its manifest is no JSON')
  }
}

function checkFiles(files: Manifest['files']): void {
  const paths = Object.keys(files)
  if (paths.length > LIMIT.files) throw refused(`its manifest names ${paths.length} files, and ${LIMIT.files} are the most`)
  const bytes = Object.values(files).reduce((sum, {size}) => sum + size, 0)
  if (bytes > LIMIT.bytes) throw refused(`its manifest names ${bytes} bytes of files, and ${LIMIT.bytes} are the most`)
  for (const path of paths) checkPath(path)
  const folders = new Set(paths.flatMap((path) => path.split('/').slice(0, -1).map((_, index, parts) => parts.slice(0, index + 1).join('/'))))
  const both = paths.find((path) => folders.has(path) || path === MANIFEST || path === SIGNATURE)
  if (both !== undefined) throw refused(`its manifest names ${both}, which is something else already`)
}

/** Every target is of a case and a kernel that are described. */
function checkNames({run}: Manifest): void {
  for (const target of run.targets) {
    if (!run.cases.some(({name}) => name === target.case)) throw refused(`its manifest runs the case '${target.case}' and does not describe it`)
    if (!run.kernels.some(({label}) => label === target.kernel)) throw refused(`its manifest runs on '${target.kernel}' and does not describe it`)
  }
}

/** Refuses a path that would lead out of the folder it is unpacked in, or that no file of ours has. */
export function checkPath(path: string): void {
  const parts = path.split('/')
  if (path.startsWith('/')) throw refused(`it has an absolute path, ${path}`)
  if (parts.includes('..')) throw refused(`it has a path that climbs out, ${path}`)
  if (parts.includes('') || parts.includes('.') || path.length > 250 || !/^[\w@+=,.:~ /-]+$/.test(path)) throw refused(`it has a path that is none of a bundle's, ${path.slice(0, 100)}`)
}

/** What is wrong with a bundle, in one sentence. */
export function refused(why: string): InputError {
  return new InputError(`the bundle is refused: ${why}`)
}

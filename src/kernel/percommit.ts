import {mkdtemp, readFile, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {makeFolder} from '../lib/files.js'
import {git} from '../lib/git.js'
import {type BuiltKernel} from './built.js'
import {changedPaths, checkOutOver, copyBuild} from './copy.js'
import {BuildFailed, make} from './make.js'
import {complaintsOfSparse, newWarnings, warningsIn} from './warnings.js'

/** What became of the tree with a series up to one of its commits. */
export type CommitBuild = {
  commit: string
  subject: string
  /** The compiler's first complaint; null where it builds. */
  error: string | null
  /** Warnings, with W=1 for what the series touches, that the commit before had not. */
  warnings: string[]
  /** The same of sparse; null where it was not asked for. */
  sparse: string[] | null
}

/**
 * Builds each commit between a built kernel's source and the tip of a series,
 * in turn and in one folder, as far as they build. The files that the series
 * touches are compiled with W=1 as well (Documentation/kbuild/kbuild.rst).
 *
 * @param sparse whether sparse, which must be installed, looks at them too (C=2)
 */
export async function buildPerCommit(context: Context, base: BuiltKernel, tip: string, sparse = false): Promise<CommitBuild[]> {
  const folder = await base.folder(context)
  const commits = await commitsBetween(context, base, tip)
  const objects = objectsOf(await changedPaths(context.signal, base.source.directory, base.source.commit, tip))
  const home = join(context.cache, 'scratch')
  await makeFolder(home)
  const scratch = await mkdtemp(join(home, 'per-commit-'))
  const tree = join(scratch, 'source')
  try {
    context.progress(`copying the built ${base.source.label}`)
    await copyBuild(context.signal, folder, tree)
    return await buildEach(context, base, commits, {tree, objects, sparse})
  } finally {
    await rm(scratch, {recursive: true, force: true})
  }
}

type Commit = {commit: string; subject: string}
type Work = {tree: string; objects: readonly string[]; sparse: boolean}

async function buildEach(context: Context, base: BuiltKernel, commits: readonly Commit[], {tree, objects, sparse}: Work): Promise<CommitBuild[]> {
  const results: CommitBuild[] = []
  const build = join(tree, 'build')
  let before = await warningsOf(context, build, objects)
  let seen = sparse ? await sparseOf(context, build, objects) : null
  let at = base.source.commit
  for (const {commit, subject} of commits) {
    context.progress(`building ${subject}`)
    await checkOutOver(context.signal, base.source.directory, at, commit, tree)
    at = commit
    try {
      const {output} = await make(context, subject, {build, arguments: ['bzImage', 'modules'], idle: base.options.idle ?? false})
      const strict = await warningsOf(context, build, objects)
      // W=1 says again what make said of these objects; of others, make alone.
      const after = [...newWarnings(strict, warningsIn(output)), ...strict]
      const found = seen && (await sparseOf(context, build, objects))
      results.push({commit, subject, error: null, warnings: newWarnings(before, after), sparse: found && newWarnings(seen!, found)})
      before = after
      seen = found
    } catch (error) {
      if (!(error instanceof BuildFailed)) throw error
      results.push({commit, subject, error: error.firstError, warnings: [], sparse: null})
      return results
    }
  }
  return results
}

async function commitsBetween(context: Context, {source}: BuiltKernel, tip: string): Promise<Commit[]> {
  const {stdout} = await git(source.directory, ['log', '--reverse', '--format=%H %s', `${source.commit}..${tip}`], {signal: context.signal})
  return stdout.split('\n').filter(Boolean).map((line) => ({commit: line.slice(0, line.indexOf(' ')), subject: line.slice(line.indexOf(' ') + 1)}))
}

function objectsOf(paths: readonly string[]): string[] {
  return paths.filter((path) => path.endsWith('.c')).map((path) => path.replace(/c$/, 'o'))
}

/** The W=1 warnings of those objects that are part of this kernel; they are compiled anew for it. */
async function warningsOf(context: Context, build: string, objects: readonly string[]): Promise<string[]> {
  const present = await compiled(build, objects)
  if (present.length === 0) return []
  for (const object of present) await rm(join(build, object), {force: true})
  const {output} = await make(context, 'with W=1', {build, arguments: ['W=1', ...present]})
  return warningsIn(output)
}

/** What sparse says of those objects' sources. They have been compiled with W=1 just now, so make has nothing else to do. */
async function sparseOf(context: Context, build: string, objects: readonly string[]): Promise<string[]> {
  const present = await compiled(build, objects)
  if (present.length === 0) return []
  const {output} = await make(context, 'with sparse', {build, arguments: ['W=1', 'C=2', ...present]})
  return complaintsOfSparse(output)
}

async function compiled(build: string, objects: readonly string[]): Promise<string[]> {
  const present = []
  for (const object of objects) if (await isCompiled(build, object)) present.push(object)
  return present
}

/** An object of this configuration, whose source the tree still has. */
async function isCompiled(build: string, object: string): Promise<boolean> {
  const source = join(build, '..', object.replace(/o$/, 'c'))
  const command = join(build, object.replace(/([^/]+)$/, '.$1.cmd'))
  return (await stat(source).catch(() => undefined)) !== undefined && (await readFile(command).catch(() => undefined)) !== undefined
}

/** The first commit that does not build or adds a warning, as a sentence; undefined where all are good. */
export function firstComplaint(builds: readonly CommitBuild[]): string | undefined {
  const bad = builds.find(({error, warnings}) => error !== null || warnings.length > 0)
  if (!bad) return undefined
  return bad.error === null ? `'${bad.subject}' adds a warning: ${bad.warnings[0]}` : `'${bad.subject}' does not build: ${bad.error}`
}

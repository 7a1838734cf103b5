import {copyFile, mkdir, readFile, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type BuiltKernel} from '../kernel/built.js'
import {compilerVersion, MAKE_ENVIRONMENT} from '../kernel/make.js'
import {artefact} from '../lib/cache.js'
import {runConfined} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {keyOf} from '../lib/hash.js'
import {findProgram} from '../lib/hostpath.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {checkOut} from '../tree/checkout.js'
import {type Source} from '../tree/source.js'
import {type LivepatchModule} from './build.js'

/** A livepatch that the tree's own klp-build made of a source patch. */
export type FromPatch = LivepatchModule & {
  /** Functions that it replaces, and those that are new in it. */
  changed: string[]
  added: string[]
  /** Of those changed, the ones that no hunk of the patch is in: what it was inlined into, as a rule. */
  stray: string[]
}

export type FromPatchInput = {
  /** The livepatch's module, as the kernel is to show it. */
  module: string
  base: BuiltKernel
  /** The commit of the source with the series on it. */
  commit: string
}

const SCRIPT = 'scripts/livepatch/klp-build'

/** What klp-build runs besides the compiler, by Debian package. */
const TOOLS: readonly [string, string][] = [
  ['recountdiff', 'patchutils'],
  ['gawk', 'gawk'],
  ['patch', 'patch'],
]

/** How many kernels are built: as it is, and with the patch. */
const PATIENCE = 'it builds the kernel twice, which takes long'

/**
 * Builds a livepatch module from a source patch by the kernel tree's own klp-build.
 * It never sets atomic replace, which would throw other livepatches out.
 *
 * @param input of a source that checkKlpBuild has let pass
 * @throws CouldNotRun when klp-build refuses the patch, in its own words
 */
export async function livepatchFromPatch(context: Context, {module, base, commit}: FromPatchInput): Promise<FromPatch> {
  const {directory, commit: from, label} = base.source
  const {stdout: diff} = await git(directory, ['diff', '--no-color', '--no-ext-diff', '--no-renames', '--full-index', from, commit], {signal: context.signal})
  if (diff === '') throw new InputError(`the series changes nothing in ${label}`)
  const inputs = {base: base.key, diff, module, compiler: await compilerVersion(context), steps: 1}
  const built = await artefact(context, 'klp', keyOf(inputs), {...inputs, diff: undefined}, async (into) => {
    context.progress(`building ${module} from the patch: ${PATIENCE}`)
    await klpBuild(context, base, {module, diff: `${diff}\n`, into})
  })
  const file = `${module}.ko`
  const {changed, added} = functionsIn(await readFile(join(built.directory, 'diff.log'), 'utf8'))
  return {path: join(built.directory, file), sha256: built.files[file]!, changed, added, stray: strayFunctions(changed, diff)}
}

/**
 * Whether a source can be made livepatches of by its own klp-build, on this machine.
 *
 * @param instead what to do where the tree cannot: the module that is written by hand, if the case has one
 * @throws InputError when the tree has no klp-build
 * @throws CouldNotRun when a tool is missing
 */
export async function checkKlpBuild({signal}: Context, source: Source, instead: string): Promise<void> {
  const {exitCode} = await git(source.directory, ['cat-file', '-e', `${source.commit}:${SCRIPT}`], {signal, allowedExits: [0, 1, 128]})
  if (exitCode === 0) return await checkTools()
  // Our kernels have IBT, as the distribution's have: kpatch-build takes none of them.
  throw new InputError(`${source.label} has no ${SCRIPT} to build a livepatch from a patch, and kpatch-build takes no kernel with CONFIG_X86_KERNEL_IBT: ${instead}`)
}

async function checkTools(): Promise<void> {
  const found = await Promise.all(TOOLS.map(async ([program, name]) => ((await findProgram(program)) ? [] : [name])))
  const missing = found.flat()
  if (missing.length > 0) throw new CouldNotRun(`klp-build needs ${missing.join(', ')}: apt-get install ${missing.join(' ')} libxxhash-dev`)
}

/** It works in the folder of the sources alone, so it gets a copy of its own, and the configuration of base. */
async function klpBuild(context: Context, base: BuiltKernel, {module, diff, into}: {module: string; diff: string; into: string}): Promise<void> {
  const {signal} = context
  const tree = join(into, 'source')
  await mkdir(tree)
  await checkOut(signal, base.source.directory, base.source.commit, tree)
  await copyFile(join(await base.folder(context), 'build/.config'), join(tree, '.config'))
  await writeFile(join(into, 'series.patch'), diff)
  const words = ['--no-replace', '--keep-tmp', '--output', join(into, `${module}.ko`), join(into, 'series.patch')]
  const {exitCode, all} = await runConfined(
    context,
    join(tree, SCRIPT),
    words,
    {reads: [], writes: [into]},
    {cwd: tree, env: MAKE_ENVIRONMENT, allowedExits: 'any', onLine: (line) => context.progress(printable(line))},
  )
  if (exitCode !== 0) throw new CouldNotRun(`klp-build: ${complaintOf(all)}`, lastLines(printable(all), 15))
  await copyFile(join(tree, 'klp-tmp/4-diff/diff.log'), join(into, 'diff.log'))
  await rm(tree, {recursive: true})
}

/** What a reader has to know of it: what it replaces, and what of that nobody asked for. */
export function replacedWords({changed, added, stray}: Pick<FromPatch, 'changed' | 'added' | 'stray'>): string[] {
  const replaces = `replaces ${changed.join(', ')}${added.length > 0 ? `; new in it: ${added.join(', ')}` : ''}`
  return [replaces, ...(stray.length > 0 ? [`the patch does not touch ${stray.join(', ')}: look why ${stray.length > 1 ? 'they change' : 'it changes'}`] : [])]
}

/** klp-build's own words for why it gave up. */
function complaintOf(output: string): string {
  const [, first] = /^error: klp-build: (.*)$/m.exec(printable(output)) ?? []
  return first ?? 'it failed'
}

/** The functions in what `objtool klp diff` says: `vmlinux.o: changed function: NAME`. */
export function functionsIn(log: string): {changed: string[]; added: string[]} {
  const named = (kind: string) => [...new Set([...printable(log).matchAll(new RegExp(`: ${kind} function: (\\S+)`, 'g'))].map(([, name]) => name!))]
  return {changed: named('changed'), added: named('new')}
}

/** Functions that a patch has no hunk in: neither named in a hunk's header, nor defined in its lines. */
export function strayFunctions(changed: readonly string[], diff: string): string[] {
  const lines = diff.split('\n')
  const headers = lines.flatMap((line) => /^@@ .* @@ (.*)$/.exec(line)?.[1] ?? [])
  // A definition begins in the first column, in what is changed as in what is around it.
  const definitions = lines.flatMap((line) => /^[ +-]([A-Za-z_].*)$/.exec(line)?.[1] ?? [])
  const touched = new Set([...headers, ...definitions].flatMap((text) => [...text.matchAll(/([A-Za-z_]\w*)\s*\(/g)].map(([, name]) => name!)))
  // The compiler's clones of a function are the function.
  return changed.filter((name) => !touched.has(name.replace(/\..*$/, '')))
}

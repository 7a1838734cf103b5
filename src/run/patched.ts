import {type Candidate, candidateOf, type Case, type Livepatch, seriesFor} from '../case/case.js'
import {type BuiltKernel, isBuilt, patchedKernel} from '../kernel/built.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {codeOf} from '../series/identity.js'
import {checkKlpBuild, type FromPatch, livepatchFromPatch} from '../livepatch/frompatch.js'
import {readSeries} from '../series/series.js'
import {applyWhole} from '../tree/apply.js'

/** A kernel with a candidate's series on it. */
export type Patched = {
  kernel: Kernel
  /** The subjects, in order. */
  patches: string[]
  /** The series' codeOf, by which `send` knows that it was this one. */
  series: string
  /** What git calls the patched tree, and its commit. */
  tree: string
  commit: string
}

/**
 * Applies a candidate's series for a kernel's line to the kernel's source. The
 * patched kernel is built when its image is asked for.
 *
 * @throws CouldNotRun when it does not apply, with every hunk that does not fit
 */
export async function patchedWith(context: Context, candidate: Candidate, base: BuiltKernel): Promise<Patched> {
  const {source} = base
  const {name} = candidate
  const path = seriesFor(candidate, base.line)
  const series = await readSeries(context.signal, [path])
  const {commit, tree} = await applyWhole(context, series, source, {name: `candidate ${name}`, path})
  return {kernel: patchedKernel(base, name, {commit, tree}), patches: series.patches.map(({title}) => title), series: codeOf(series), tree, commit}
}

/**
 * Whether a kernel's source can be made the livepatches of that a case has of its candidates, if it has some.
 *
 * @throws InputError when the tree cannot, naming the case's livepatch that is written by hand
 * @throws CouldNotRun when a tool is missing here
 */
export async function checkFromPatch(context: Context, {kernels: all, livepatches}: Case, kernel: Kernel | BuiltKernel): Promise<void> {
  if (!isBuilt(kernel) || !livepatches.some(({madeOf}) => madeOf)) return
  const byHand = livepatches.flatMap(({madeOf}) => madeOf?.insteadOf ?? []).find(({kernels = all}) => kernels.includes(kernel.line))
  await checkKlpBuild(context, kernel.source, byHand ? `the case has one that is written by hand, ${byHand.name}: leave --from-patch out` : 'write one by hand')
}

/**
 * Makes a livepatch of its candidate's series, for a kernel that is built from a source.
 *
 * @throws CouldNotRun when the series does not apply, or its change cannot be a livepatch
 */
export async function madeOfSeries(context: Context, one: Case, {module, madeOf}: Required<Pick<Livepatch, 'module' | 'madeOf'>>, base: BuiltKernel): Promise<FromPatch> {
  const {commit} = await patchedWith(context, candidateOf(one, madeOf.candidate), base)
  return await livepatchFromPatch(context, {module, base, commit})
}

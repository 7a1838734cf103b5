import {type Candidate, seriesFor} from '../case/case.js'
import {type BuiltKernel, patchedKernel} from '../kernel/built.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {codeOf} from '../series/identity.js'
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

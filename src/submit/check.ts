import {type BuiltKernel} from '../kernel/built.js'
import {type Context} from '../lib/context.js'
import {type Series} from '../series/series.js'
import {type Source} from '../tree/source.js'
import {checkApplies} from './applies.js'
import {buildsNotRun, checkBuilds} from './builds.js'
import {checkCheckpatch} from './checkpatch.js'
import {checkCoccinelle} from './coccinelle.js'
import {checkExpected} from './expected.js'
import {checkFixes, hasHistory} from './fixes.js'
import {checkMaintainers} from './maintainers.js'
import {type Person} from './message.js'
import {checkForm} from './netdev.js'
import {checkOpenwrt, linuxNotRun} from './openwrt.js'
import {notRun, type Row} from './rows.js'
import {withScripts} from './scripts.js'
import {checkDco, checkSignoffs} from './signoff.js'

export type CheckInput = {
  series: Series
  /** The tree and the commit that it is for. */
  source: Source
  /** The kernel of the source, where patches are to be built; else why they are not. */
  kernel: BuiltKernel | string
  /** Who the user is to git; undefined where git does not know. */
  own: Person | undefined
  /** Why the tree's semantic patches are not run, where they are not: they take minutes. */
  noCoccinelle?: string | undefined
}

/**
 * Everything that a maintainer's first look would find, a row each. What could
 * not be looked at is a row as well.
 */
export async function checkSeries(context: Context, input: CheckInput): Promise<Row[]> {
  const {series, source, own} = input
  const {signal} = context
  const {patches} = series
  const isLinux = source.tree === 'linux'
  context.progress(`applying to ${source.label}`)
  const {applied, rows: applies} = await checkApplies(context, series, source)
  const tip = applied.commit === null || applied.tree === null ? undefined : {commit: applied.commit, tree: applied.tree}
  const history = await hasHistory(signal, source)
  const scripted = await withScripts(context, source, patches, async (scripts) => {
    context.progress('running checkpatch.pl and get_maintainer.pl')
    const checkpatch = await checkCheckpatch(signal, scripts, patches, history)
    const maintainers = await checkMaintainers(signal, scripts, patches)
    return {checkpatch, maintainers}
  })
  return [
    ...applies,
    ...scripted.checkpatch,
    ...(await builds(context, input, tip)),
    ...(isLinux ? [await coccinelle(context, input, tip)] : []),
    ...scripted.maintainers,
    ...(await checkFixes(signal, patches, source, isLinux)),
    ...checkSignoffs(patches, own),
    ...(isLinux ? [] : checkDco(patches)),
    ...checkForm(series),
    ...(isLinux ? await checkExpected(signal, patches, source) : [...checkOpenwrt(patches), ...linuxNotRun()]),
  ]
}

async function coccinelle(context: Context, {source, noCoccinelle}: CheckInput, tip: {commit: string} | undefined): Promise<Row> {
  if (noCoccinelle !== undefined) return notRun('coccinelle', null, noCoccinelle)
  return tip ? await checkCoccinelle(context, source, tip.commit) : notRun('coccinelle', null, 'it does not apply')
}

async function builds(context: Context, {kernel}: CheckInput, tip: {commit: string; tree: string} | undefined): Promise<Row[]> {
  if (typeof kernel === 'string') return buildsNotRun(kernel)
  return tip ? await checkBuilds(context, kernel, tip) : buildsNotRun('it does not apply')
}

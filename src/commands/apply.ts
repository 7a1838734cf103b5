import {existsSync} from 'node:fs'
import {join, resolve} from 'node:path'
import {candidateOf, caseNames, FIREWALL4_LINE, loadCase, seriesFor} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {applyJson, applyText} from '../report/apply.js'
import {seriesFiles} from '../series/mails.js'
import {readSeries} from '../series/series.js'
import {applySeries, type ApplyOptions} from '../tree/apply.js'
import {type Kind} from '../tree/kinds.js'
import {sourceTree} from '../tree/source.js'
import {DEFAULT_LINE} from './kernels.js'
import {checkRefresh, refuseIdle} from './options.js'

export type ApplyCommandOptions = {
  /** Of a case: which candidate, and its series for which line. */
  candidate?: string
  kernel?: string
  cases?: string
  git?: string
  source?: string
  tree?: Kind
  base?: string
  inPlace?: boolean
  refresh?: boolean
  json?: boolean
}

/** `patchbench apply SERIES...`, or a case: whether a series applies to a tree, and what is in its way. */
export async function applyCommand(context: Context, words: readonly string[], given: ApplyCommandOptions): Promise<{text: string; exit: number}> {
  const {paths, options} = await ofCase(words, given)
  // A word that is nothing at all is more wrong than a tree that is not named yet.
  for (const path of paths) await seriesFiles(path)
  await check(options)
  const series = await readSeries(context.signal, paths)
  const result = await applySeries(context, series, await whereTo(context, options))
  return {text: options.json ? applyJson(result) : applyText(result), exit: result.applied ? EXIT.ok : EXIT.missed}
}

/** A word that is no path but a case means a candidate of it, on the distribution's source of the line. */
async function ofCase(words: readonly string[], options: ApplyCommandOptions): Promise<{paths: readonly string[]; options: ApplyCommandOptions}> {
  const [name = ''] = words
  const folder = options.cases && resolve(options.cases)
  const isCase = options.candidate !== undefined || (words.length === 1 && isNoSeries(name) && (await caseNames(folder)).includes(name))
  if (!isCase) {
    refuseIdle({kernel: options.kernel, cases: options.cases}, `is about a case, and ${name} is none: name the tree by --git or --source`)
    return {paths: words, options}
  }
  refuseIdle({tree: options.tree}, 'is about a series that is in no case: leave it out')
  const one = await loadCase(name, folder)
  // The distribution has no source of another tree than linux.
  if (one.tree !== 'linux') return {paths: [seriesFor(candidateOf(one, options.candidate), FIREWALL4_LINE)], options: options.git === undefined ? {...options, tree: 'firewall4'} : options}
  const line = options.kernel ?? DEFAULT_LINE
  const path = seriesFor(candidateOf(one, options.candidate), line)
  return {paths: [path], options: options.git === undefined ? {source: line, ...options} : options}
}

/** Whether a word names no file or folder, or the folder of a case. */
function isNoSeries(word: string): boolean {
  return !existsSync(word) || existsSync(join(word, 'case.yaml'))
}

async function check({git, source, inPlace, tree, refresh}: ApplyCommandOptions): Promise<void> {
  if (git === undefined && source === undefined) throw new InputError('no tree is named: add --git <folder>, or --source with a kernel line, a URL or a tarball')
  if (git !== undefined && source !== undefined) throw new InputError('--git and --source name a tree each: leave one of them out')
  if (inPlace && git === undefined) throw new InputError('--in-place works on a branch of yours: name its tree by --git')
  if (git !== undefined) refuseIdle({refresh, tree}, 'is about --source, and --git is taken as it is: leave it out')
  await checkRefresh({source, refresh})
}

async function whereTo(context: Context, {git, source = '', tree = 'linux', base, inPlace, refresh}: ApplyCommandOptions): Promise<ApplyOptions> {
  if (git !== undefined) return {git, base, inPlace}
  const named = /^\d[\d.]*$/.test(source) ? {line: source} : {from: source}
  const {directory, commit, label, origin} = await sourceTree(context, {tree, ...named, base, refresh})
  return {git: directory, base: commit, where: label, origin}
}

import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {applyJson, applyText} from '../report/apply.js'
import {readSeries} from '../series/series.js'
import {applySeries, type ApplyOptions} from '../tree/apply.js'
import {type Kind} from '../tree/kinds.js'
import {sourceTree} from '../tree/source.js'

export type ApplyCommandOptions = {
  git?: string
  source?: string
  tree?: Kind
  base?: string
  inPlace?: boolean
  refresh?: boolean
  json?: boolean
}

/** `patchbench apply SERIES...`: whether a series applies to a tree, and what is in its way. */
export async function applyCommand(context: Context, paths: readonly string[], options: ApplyCommandOptions): Promise<{text: string; exit: number}> {
  check(options)
  const series = await readSeries(context.signal, paths)
  const result = await applySeries(context, series, await whereTo(context, options))
  return {text: options.json ? applyJson(result) : applyText(result), exit: result.applied ? EXIT.ok : EXIT.missed}
}

function check({git, source, inPlace}: ApplyCommandOptions): void {
  if (git === undefined && source === undefined) throw new InputError('no tree is named: add --git <folder>, or --source with a kernel line, a URL or a tarball')
  if (git !== undefined && source !== undefined) throw new InputError('--git and --source name a tree each: leave one of them out')
  if (inPlace && git === undefined) throw new InputError('--in-place works on a branch of yours: name its tree by --git')
}

async function whereTo(context: Context, {git, source = '', tree = 'linux', base, inPlace, refresh}: ApplyCommandOptions): Promise<ApplyOptions> {
  if (git !== undefined) return {git, base, inPlace}
  const named = /^\d[\d.]*$/.test(source) ? {line: source} : {from: source}
  const {directory, commit, label} = await sourceTree(context, {tree, ...named, base, refresh})
  return {git: directory, base: commit, where: label}
}

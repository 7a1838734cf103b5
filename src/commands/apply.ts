import {type Context} from '../lib/context.js'
import {EXIT} from '../lib/errors.js'
import {applyJson, applyText} from '../report/apply.js'
import {readSeries} from '../series/series.js'
import {applySeries, type ApplyOptions} from '../tree/apply.js'

/** `patchbench apply SERIES...`: whether a series applies to a tree, and what is in its way. */
export async function applyCommand(context: Context, paths: readonly string[], options: ApplyOptions & {json?: boolean}): Promise<{text: string; exit: number}> {
  const series = await readSeries(context.signal, paths)
  const result = await applySeries(context, series, options)
  return {text: options.json ? applyJson(result) : applyText(result), exit: result.applied ? EXIT.ok : EXIT.missed}
}

import {type Comparison} from '../run/compare.js'
import {type RunFacts} from './markdown.js'

/** The comparison as one JSON document; keys are added, never renamed, within a schema number. */
export function comparisonJson({results, pairs, leftOut}: Comparison, run: Pick<RunFacts, 'folder' | 'date' | 'command' | 'accelerator'> & Partial<RunFacts> & {exit: number}): string {
  return JSON.stringify({schema: 1, run, results, pairs, leftOut}, null, 2)
}

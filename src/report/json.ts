import {type Comparison} from '../run/compare.js'

/** The comparison as one JSON document; keys are added, never renamed, within a schema number. */
export function comparisonJson({results, pairs, leftOut}: Comparison, run: {folder: string; exit: number; /** ISO 8601, UTC. */ date: string; command: string; accelerator: string}): string {
  return JSON.stringify({schema: 1, run, results, pairs, leftOut}, null, 2)
}

import {type Result} from '../run/results.js'

/** The comparison as one JSON document; keys are added, never renamed, within a schema number. */
export function comparisonJson(results: readonly Result[], run: {folder: string; exit: number}): string {
  return JSON.stringify({schema: 1, run, results}, null, 2)
}

import {resolve} from 'node:path'
import {candidateVariant, caseNames, loadCase} from '../case/case.js'
import {plainTable} from '../report/table.js'

/** `patchbench cases`: what there is to prove, and what is wrong with the cases that cannot be read. */
export async function casesCommand(options: {cases?: string; json?: boolean}): Promise<{text: string; broken: string[]}> {
  const folder = options.cases && resolve(options.cases)
  const names = await caseNames(folder)
  const loaded = await Promise.allSettled(names.map(async (name) => await loadCase(name, folder)))
  const cases = loaded.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  // One broken case hides no other; what is wrong with it is said behind them.
  const broken = loaded.flatMap((one) => (one.status === 'rejected' ? [String((one.reason as Error).message)] : []))
  if (options.json) {
    const listed = cases.map(({name, title, tree, kernels, symptoms, controls, candidates, livepatches, directory}) => ({
      ...{name, title, tree, kernels, symptoms, controls, directory},
      candidates: candidates.map(({name, series, claims, expect}) => ({
        ...{name, claims, expect},
        kernels: candidateVariant({tree}) === 'ruleset' ? kernels : Object.keys(series),
      })),
      livepatches: livepatches.map(({name, module, claims, expect}) => ({name, module, claims, expect})),
    }))
    return {text: JSON.stringify({schema: 1, cases: listed, broken}, null, 2), broken}
  }
  const rows = cases.map(({name, tree, kernels, candidates, livepatches, symptoms, controls, title}) => [
    ...[name, tree, kernels.join(', '), candidates.map(({name}) => name).join(', '), livepatches.map(({name}) => name).join(', ')],
    `${symptoms.length}+${controls.length}`,
    title,
  ])
  const table = plainTable(['case', 'tree', 'kernels', 'candidates', 'livepatches', 'tests', 'title'], rows)
  return {text: table, broken}
}

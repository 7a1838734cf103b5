import {resolve} from 'node:path'
import {caseNames, loadCase} from '../case/case.js'
import {plainTable} from '../report/table.js'

/** `patchbench cases`: what there is to prove. */
export async function casesCommand(options: {cases?: string; json?: boolean}): Promise<string> {
  const folder = options.cases && resolve(options.cases)
  const names = await caseNames(folder)
  const cases = await Promise.all(names.map(async (name) => await loadCase(name, folder)))
  if (options.json) {
    const listed = cases.map(({name, title, tree, kernels, symptoms, controls, livepatches, directory}) => ({
      ...{name, title, tree, kernels, symptoms, controls, directory},
      livepatches: livepatches.map(({name, module, claims, expect}) => ({name, module, claims, expect})),
    }))
    return JSON.stringify({schema: 1, cases: listed}, null, 2)
  }
  const rows = cases.map(({name, tree, kernels, livepatches, symptoms, controls, title}) => [
    ...[name, tree, kernels.join(', '), livepatches.map(({name}) => name).join(', ')],
    `${symptoms.length}+${controls.length}`,
    title,
  ])
  return plainTable(['case', 'tree', 'kernels', 'livepatches', 'tests', 'title'], rows)
}

import {caseNames, loadCase} from '../case/case.js'
import {plainTable} from '../report/table.js'

/** `patchbench cases`: what there is to prove. */
export async function casesCommand(options: {cases?: string; json?: boolean}): Promise<string> {
  const names = await caseNames(options.cases)
  const cases = await Promise.all(names.map(async (name) => await loadCase(name, options.cases)))
  if (options.json) {
    const listed = cases.map(({name, title, tree, kernels, symptoms, controls, livepatch, directory}) => ({
      ...{name, title, tree, kernels, symptoms, controls, directory},
      livepatch: livepatch ? {module: livepatch.module, claims: livepatch.claims, expect: livepatch.expect} : null,
    }))
    return JSON.stringify({schema: 1, cases: listed}, null, 2)
  }
  const rows = cases.map(({name, tree, kernels, livepatch, symptoms, controls, title}) => [
    ...[name, tree, kernels.join(', '), livepatch ? 'yes' : 'no'],
    `${symptoms.length}+${controls.length}`,
    title,
  ])
  return plainTable(['case', 'tree', 'kernels', 'livepatch', 'tests', 'title'], rows)
}

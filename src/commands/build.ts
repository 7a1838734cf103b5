import {resolve} from 'node:path'
import {livepatchOf, loadCase} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {runTasks} from '../lib/tasks.js'
import {buildLivepatch} from '../livepatch/build.js'
import {chosenKernels, type KernelOptions} from './compare.js'

/** `patchbench build livepatch CASE`: the module, and where it is. */
export async function buildLivepatchCommand(
  context: Context,
  name: string,
  options: KernelOptions & {cases?: string; livepatch?: string; json?: boolean},
): Promise<string> {
  const one = await loadCase(name, options.cases && resolve(options.cases))
  const livepatch = livepatchOf(one, options.livepatch)
  const kernels = await chosenKernels(context, options)
  const built = await runTasks(
    context,
    kernels.map((kernel) => ({
      title: `livepatch ${name} for ${kernel.label}`,
      run: async (own) => ({kernel: kernel.label, release: kernel.release, ...(await buildLivepatch(own, livepatch, kernel))}),
    })),
  )
  if (options.json) return JSON.stringify({schema: 1, case: name, modules: built}, null, 2)
  return built.map(({kernel, path, sha256}) => `${kernel}  ${path}  sha256:${sha256}`).join('\n')
}

import {resolve} from 'node:path'
import {asLivepatches, type Candidate, candidateOf, candidateVariant, type Case, livepatchOf, loadCase} from '../case/case.js'
import {type BuiltKernel} from '../kernel/built.js'
import {buildPerCommit, type CommitBuild, firstComplaint} from '../kernel/percommit.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {sha256File} from '../lib/hash.js'
import {runTasks} from '../lib/tasks.js'
import {buildLivepatch} from '../livepatch/build.js'
import {replacedWords} from '../livepatch/frompatch.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {type Accelerator} from '../machine/qemu.js'
import {plainTable} from '../report/table.js'
import {checkFromPatch, madeOfSeries, patchedWith} from '../run/patched.js'
import {loadedRuleset} from '../run/rulesets.js'
import {hasRulesets, rulesetOf} from '../ruleset/ruleset.js'
import {chosenFirewall4, type Firewall4Options} from './firewall4.js'
import {chosenBuilds, chosenKernels, type KernelOptions, onlyOne, wantsBuilt} from './kernels.js'
import {refuseIdle} from './options.js'

/** `patchbench build livepatch CASE`: the module, and where it is. */
export async function buildLivepatchCommand(
  context: Context,
  name: string,
  options: KernelOptions & {cases?: string; livepatch?: string; candidate?: string; json?: boolean},
): Promise<string> {
  const one = await loadCase(name, options.cases && resolve(options.cases))
  if (options.fromPatch) return await buildFromPatch(context, one, options)
  if (options.candidate !== undefined) throw new InputError('--candidate is for --from-patch: a livepatch is chosen by --livepatch')
  const livepatch = livepatchOf(one, options.livepatch)
  if (!wantsBuilt(options)) refuseIdle({idle: options.idle}, 'is about building a kernel, and none is built: ask for --built, or leave it out')
  const kernels = wantsBuilt(options) ? await chosenBuilds(context, one, options) : await chosenKernels(context, options)
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

/** `patchbench build livepatch CASE --from-patch`: a candidate as a livepatch, by the tree's own klp-build. */
async function buildFromPatch(context: Context, one: Case, options: KernelOptions & {candidate?: string; livepatch?: string; json?: boolean}): Promise<string> {
  if (options.livepatch !== undefined) throw new InputError('--livepatch is a module that is written by hand: name a --candidate with --from-patch')
  const candidate = candidateOf(one, options.candidate)
  const livepatches = asLivepatches(one)
  const livepatch = livepatches.find(({name}) => name === candidate.name)
  if (!livepatch) throw new InputError(`the candidates of ${one.name} are no kernel patches`)
  const base = onlyOne(await chosenBuilds(context, one, options))
  await checkFromPatch(context, {...one, livepatches}, base)
  const [built] = await runTasks(context, [
    {
      title: `livepatch of ${candidate.name} for ${base.label}`,
      run: async (own) => await madeOfSeries(own, one, livepatch, base),
    },
  ])
  const {path, sha256, changed, added, stray} = built!
  if (options.json) return JSON.stringify({schema: 1, case: one.name, candidate: candidate.name, kernel: base.label, module: livepatch.module, path, sha256, changed, added, stray}, null, 2)
  return [`${base.label}  ${path}  sha256:${sha256}`, ...replacedWords(built!)].join('\n')
}

export type BuildKernelOptions = KernelOptions & {cases?: string; candidate?: string; perCommit?: boolean; json?: boolean}

/** `patchbench build kernel CASE`: the image of base or of a candidate, or what each commit of a candidate does to the build. */
export async function buildKernelCommand(context: Context, name: string, options: BuildKernelOptions): Promise<{text: string; exit: number}> {
  const one = await loadCase(name, options.cases && resolve(options.cases))
  // A name that is none is told before a source is fetched.
  const candidate = options.candidate === undefined && !options.perCommit ? undefined : candidateOf(one, options.candidate)
  if (candidate && candidateVariant(one) !== 'patched') throw new InputError(`the candidates of ${name} are no kernel patches: see 'patchbench build ruleset'`)
  const base = onlyOne(await chosenBuilds(context, one, options))
  if (options.perCommit) return await perCommit(context, one, base, {...options, candidate: candidate!})
  const [built] = await runTasks(context, [
    {
      title: candidate ? `${base.label} with ${candidate.name}` : base.label,
      run: async (own) => {
        const kernel = candidate ? (await patchedWith(own, candidate, base)).kernel : base
        return {label: kernel.label, release: kernel.release, ...(await kernel.image(own))}
      },
    },
  ])
  const {label, release, vmlinuz, modules, config, notes = []} = built!
  const facts = {kernel: label, release, vmlinuz, sha256: await sha256File(vmlinuz), modules, config, notes}
  if (options.json) return {text: JSON.stringify({schema: 1, case: name, ...facts}, null, 2), exit: EXIT.ok}
  return {text: [`${label}  ${vmlinuz}  sha256:${facts.sha256}`, ...notes].join('\n'), exit: EXIT.ok}
}

export type BuildRulesetOptions = KernelOptions & Firewall4Options & {cases?: string; candidate?: string; accel: Accelerator | 'auto'; root?: string; json?: boolean}

/** `patchbench build ruleset CASE`: the ruleset of base or of a candidate, after a machine has loaded it, and where it is. */
export async function buildRulesetCommand(context: Context, name: string, given: BuildRulesetOptions): Promise<string> {
  const one = await loadCase(name, given.cases && resolve(given.cases))
  if (!hasRulesets(one)) throw new InputError(`the case '${name}' is about the tree ${one.tree} and has no rulesets`)
  const candidate = given.candidate === undefined ? undefined : candidateOf(one, given.candidate)
  const {options, firewall4} = await chosenFirewall4(context, [one], given)
  if (!wantsBuilt(options)) refuseIdle({idle: options.idle}, 'is about building a kernel, and none is built: ask for --built, or leave it out')
  const kernel = onlyOne(wantsBuilt(options) ? await chosenBuilds(context, one, options) : await chosenKernels(context, options))
  const {accelerator} = await chooseAccelerator(context, options.accel, kernel)
  const machine = {accelerator, ...(options.root ? {rootTar: resolve(options.root)} : {})}
  const [loaded] = await runTasks(context, [
    {
      title: `ruleset ${candidate?.name ?? 'base'} of ${name} on ${kernel.label}`,
      run: async (own) => await loadedRuleset(own, one, kernel, await rulesetOf(own, one, candidate, firewall4), machine),
    },
  ])
  const facts = {ruleset: loaded!.name, kernel: kernel.label, files: loaded!.files, sha256: loaded!.sha256, notes: loaded!.notes}
  if (options.json) return JSON.stringify({schema: 1, case: name, ...facts}, null, 2)
  const rows = Object.entries(loaded!.files).map(([ending, path]) => `${loaded!.name}  ${path}  sha256:${loaded!.sha256[ending]}`)
  return [...rows, ...loaded!.notes].join('\n')
}

async function perCommit(context: Context, one: Case, base: BuiltKernel, {candidate, json}: {candidate: Candidate; json?: boolean}): Promise<{text: string; exit: number}> {
  const [commits] = await runTasks(context, [
    {
      title: `${candidate.name}, commit by commit, on ${base.label}`,
      run: async (own) => await buildPerCommit(own, base, (await patchedWith(own, candidate, base)).commit),
    },
  ])
  const complaint = firstComplaint(commits!)
  const exit = complaint === undefined ? EXIT.ok : EXIT.missed
  if (json) return {text: JSON.stringify({schema: 1, case: one.name, candidate: candidate.name, kernel: base.label, complaint: complaint ?? null, commits}, null, 2), exit}
  const table = plainTable(['commit', 'build', 'new warnings'], commits!.map(commitRow))
  return {text: complaint === undefined ? table : `${table}\n\n${complaint}`, exit}
}

function commitRow({subject, error, warnings}: CommitBuild): string[] {
  return [subject, error === null ? 'builds' : 'fails', error === null ? String(warnings.length) : '-']
}

import {execa} from 'execa'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {candidateOf, candidateVariant, type Case, livepatchOf, loadCase} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, EXIT, InputError} from '../lib/errors.js'
import {runTasks} from '../lib/tasks.js'
import {buildLivepatch} from '../livepatch/build.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {interact} from '../machine/interactive.js'
import {type Accelerator} from '../machine/qemu.js'
import {findVng, vngArguments} from '../machine/vng.js'
import {caseSnapshot} from '../run/machines.js'
import {patchedWith} from '../run/patched.js'
import {shellJob} from '../run/sessions.js'
import {type Firewall4} from '../ruleset/firewall4.js'
import {hasRulesets, keepRuleset, rulesetOf} from '../ruleset/ruleset.js'
import {type Variant} from '../verdict/verdict.js'
import {withParameters} from './compare.js'
import {chosenFirewall4, type Firewall4Options} from './firewall4.js'
import {chosenBuilds, chosenKernels, type KernelOptions, onlyOne, wantsBuilt} from './kernels.js'
import {checkFixes, refuseIdle} from './options.js'

export type ShellOptions = KernelOptions & Firewall4Options & {
  variant: Variant
  livepatch?: string
  candidate?: string
  /** Boots with virtme-ng instead, with the host's files under it. */
  vng?: boolean
  set: string[]
  cases?: string
  accel: Accelerator | 'auto'
  root?: string
}

const GREETING = `
PS1='\\[\\e[1m\\]patchbench \\h:\\w#\\[\\e[0m\\] '
alias reproduce='/run/job/run-reproducer'
echo
echo "This is $PATCHBENCH_CASE, $PATCHBENCH_VARIANT, on $(uname -r). 'reproduce' runs the reproducer; exit ends the machine."
for file in /run/job/ruleset.*; do [ -e "$file" ] && echo "'reproduce' loads $file."; done
`

const RUN_REPRODUCER = `#!/bin/sh
cd /tmp && chmod +x /run/job/reproduce && PYTHONPATH=/patchbench/lib exec /run/job/reproduce
`

/** `patchbench shell CASE`: a machine in a variant's state, with the terminal as its console. */
export async function shellCommand(context: Context, name: string, given: ShellOptions): Promise<number> {
  const one = withParameters(await loadCase(name, given.cases && resolve(given.cases)), given.set)
  checkVariant(one, given)
  if (!process.stdin.isTTY) throw new InputError('shell needs a terminal: run it without redirection, or use compare')
  const {options, firewall4} = await chosenFirewall4(context, [one], given)
  const kernel = await kernelOf(context, one, options)
  if (options.vng) return await vngShell(context, kernel, options)
  return await ownShell(context, one, {kernel, firewall4}, options)
}

function checkVariant(one: Case, options: ShellOptions): void {
  const {variant, vng, candidate, livepatch, idle, root, set} = options
  const own = candidateVariant(one)
  if ((variant === 'patched' || variant === 'ruleset') && variant !== own) {
    throw new InputError(`the candidates of ${one.name} run as '${own}': ask for --variant ${own}`)
  }
  if (variant === 'ruleset' && vng) throw new InputError('--vng boots a kernel and loads no ruleset: leave it out, or take --variant base')
  checkFixes([one], [variant], {candidate, livepatch})
  if (vng) refuseIdle({set, root}, 'is about the reproducer and its guest, and --vng boots this host\'s files: leave it out')
  if (variant !== 'patched' && !wantsBuilt(options) && !vng) refuseIdle({idle}, 'is about building kernels, and none is built: leave it out')
  if (variant === own) candidateOf(one, candidate)
}

async function kernelOf(context: Context, one: Case, options: ShellOptions): Promise<Kernel> {
  if (options.variant !== 'patched' && !wantsBuilt(options) && !options.vng) return onlyOne(await chosenKernels(context, options))
  const base = onlyOne(await chosenBuilds(context, one, options))
  if (options.variant !== 'patched') return base
  return (await patchedWith(context, candidateOf(one, options.candidate), base)).kernel
}

async function ownShell(context: Context, one: Case, {kernel, firewall4}: {kernel: Kernel; firewall4: Firewall4 | undefined}, options: ShellOptions): Promise<number> {
  const live = options.variant === 'livepatched' || options.variant === 'reverted'
  const livepatch = live ? livepatchOf(one, options.livepatch) : undefined
  const candidate = options.variant === 'ruleset' ? candidateOf(one, options.candidate) : undefined
  const {accelerator} = await chooseAccelerator(context, options.accel, kernel)
  const [ready] = await runTasks(context, [
    {
      title: `${one.name} on ${kernel.label}`,
      run: async (own) => ({
        ruleset: hasRulesets(one) ? await rulesetOf(own, one, candidate, firewall4) : undefined,
        snapshot: await caseSnapshot(own, one, kernel, {accelerator, ...(options.root ? {rootTar: resolve(options.root)} : {})}),
        loadable: livepatch && {livepatch, module: await buildLivepatch(own, livepatch, kernel)},
      }),
    },
  ])
  const extras = await mkdtemp(join(tmpdir(), 'patchbench-shell-'))
  try {
    const bashrc = join(extras, 'bashrc')
    const runner = join(extras, 'run-reproducer')
    await writeFile(bashrc, GREETING)
    await writeFile(runner, RUN_REPRODUCER, {mode: 0o755})
    const {rows = 24, columns = 80} = process.stdout
    const {loadable, snapshot} = ready!
    const ruleset = ready!.ruleset && (await keepRuleset(ready!.ruleset, extras))
    const job = shellJob(one, options.variant, {loadable, ruleset}, snapshot.hardware, {rows, columns})
    const failure = await interact(context, snapshot, {...job, files: {...job.files, bashrc, 'run-reproducer': runner}})
    if (failure) throw new CouldNotRun(failure)
    return EXIT.ok
  } finally {
    await rm(extras, {recursive: true, force: true})
  }
}

/** Hands the terminal to virtme-ng: the host's files read-only, the user's own tools. */
async function vngShell(context: Context, kernel: Kernel, options: ShellOptions): Promise<number> {
  if (options.variant === 'livepatched' || options.variant === 'reverted') {
    throw new InputError(`--vng boots a kernel and loads no livepatch: 'patchbench build livepatch' makes the module to load there`)
  }
  const {accelerator} = await chooseAccelerator(context, options.accel, kernel)
  const [ready] = await runTasks(context, [
    {title: kernel.label, run: async (own) => ({image: await kernel.image(own), vng: await findVng(own)})},
  ])
  const {program, env} = ready!.vng
  const {exitCode} = await execa(program, vngArguments(ready!.image.vmlinuz, accelerator), {stdio: 'inherit', env, reject: false, cancelSignal: context.signal})
  context.signal.throwIfAborted()
  if (exitCode !== 0) throw new CouldNotRun(`virtme-ng ended with exit code ${exitCode ?? 'unknown'}`)
  return EXIT.ok
}

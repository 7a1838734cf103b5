import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {livepatchOf, loadCase} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, EXIT, InputError} from '../lib/errors.js'
import {runTasks} from '../lib/tasks.js'
import {buildLivepatch} from '../livepatch/build.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {interact} from '../machine/interactive.js'
import {type Accelerator} from '../machine/qemu.js'
import {caseSnapshot} from '../run/machines.js'
import {shellJob} from '../run/sessions.js'
import {chosenKernels, type KernelOptions, withParameters} from './compare.js'

export type ShellOptions = KernelOptions & {variant: 'base' | 'livepatched' | 'reverted'; livepatch?: string; set: string[]; cases?: string; accel: Accelerator | 'auto'; root?: string}

const GREETING = `
PS1='\\[\\e[1m\\]patchbench \\h:\\w#\\[\\e[0m\\] '
alias reproduce='/run/job/run-reproducer'
echo
echo "This is $PATCHBENCH_CASE, $PATCHBENCH_VARIANT, on $(uname -r). 'reproduce' runs the reproducer; exit ends the machine."
`

const RUN_REPRODUCER = `#!/bin/sh
cd /tmp && PYTHONPATH=/patchbench/lib exec /run/job/reproduce
`

/** `patchbench shell CASE`: a machine in a variant's state, with the terminal as its console. */
export async function shellCommand(context: Context, name: string, options: ShellOptions): Promise<number> {
  if (!process.stdin.isTTY) throw new InputError('shell needs a terminal: run it without redirection, or use compare')
  const one = withParameters(await loadCase(name, options.cases && resolve(options.cases)), options.set)
  const livepatch = options.variant === 'base' ? undefined : livepatchOf(one, options.livepatch)
  const [kernel] = await chosenKernels(context, options)
  const {accelerator} = await chooseAccelerator(context, options.accel, kernel!)
  const [ready] = await runTasks(context, [
    {
      title: `${name} on ${kernel!.label}`,
      run: async (own) => ({
        snapshot: await caseSnapshot(own, one, kernel!, {accelerator, ...(options.root ? {rootTar: resolve(options.root)} : {})}),
        loadable: livepatch && {livepatch, module: await buildLivepatch(own, livepatch, kernel!)},
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
    const job = shellJob(one, options.variant, ready!.loadable, ready!.snapshot.hardware, {rows, columns})
    const failure = await interact(context, ready!.snapshot, {...job, files: {...job.files, bashrc, 'run-reproducer': runner}})
    if (failure) throw new CouldNotRun(failure)
    return EXIT.ok
  } finally {
    await rm(extras, {recursive: true, force: true})
  }
}

import {mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Case} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {type Accelerator} from '../machine/qemu.js'
import {runSession} from '../machine/session.js'
import {keepRuleset, type KeptRuleset, type Ruleset} from '../ruleset/ruleset.js'
import {caseSnapshot} from './machines.js'
import {whyNotLoaded} from './outcome.js'
import {RULESET_STEP, rulesetJob, sessionLimits} from './sessions.js'

/**
 * A ruleset that a machine with this kernel has loaded: the host needs no nft of its own.
 *
 * @throws CouldNotRun when it does not load, in nft's own words
 */
export async function loadedRuleset(
  context: Context,
  one: Case,
  kernel: Kernel,
  ruleset: Ruleset,
  machine: {accelerator: Accelerator; rootTar?: string},
): Promise<KeptRuleset> {
  const scratch = await mkdtemp(join(tmpdir(), 'patchbench-ruleset-'))
  try {
    const kept = await keepRuleset(ruleset, scratch)
    const snapshot = await caseSnapshot(context, one, kernel, machine)
    const job = rulesetJob(one, kept, snapshot.hardware)
    const evidence = join(scratch, 'evidence')
    const {steps, failure} = await runSession(context, {snapshot, job, limits: sessionLimits(one, ['base'], snapshot.hardware), evidence})
    const complaint = await readFile(join(evidence, RULESET_STEP, 'stderr'), 'utf8').catch(() => '')
    const why = failure ?? steps.find(({status}) => status !== 'done')?.reason ?? steps.map((step) => whyNotLoaded(step, complaint)).find(Boolean)
    if (why !== undefined) throw new CouldNotRun(`the ruleset ${ruleset.name} of ${one.name} does not load on ${kernel.label}`, why)
    // The copy goes with the scratch folder; what it was made of stays.
    return {...kept, files: ruleset.files}
  } finally {
    await rm(scratch, {recursive: true, force: true})
  }
}

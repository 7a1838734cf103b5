import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Case, type Livepatch} from '../case/case.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {checkTransition} from '../livepatch/transition.js'
import {type SessionResult, type StepResult} from '../machine/session.js'
import {type Ktap, parseKtap} from '../verdict/ktap.js'
import {findSplats} from '../verdict/splat.js'
import {type Variant, type VariantRun} from '../verdict/verdict.js'
import {RULESET_STEP} from './sessions.js'

/**
 * What a session says about each of its variants: the tests that were
 * reported, the splats in its kernel log, and why it is no result if it is none.
 */
export async function outcomesOf(
  one: Case,
  livepatch: Livepatch | undefined,
  variants: readonly Variant[],
  session: SessionResult,
  evidence: string,
): Promise<Map<Variant, VariantRun>> {
  const runs = new Map<Variant, VariantRun>()
  let broken: string | undefined
  const lost = session.steps.find(({status}) => status === 'unfinished')
  for (const step of session.steps) {
    const variant = variants.find((one) => one === step.name)
    // Of a machine that was lost, the console is what there is: it tells of the step that lost it.
    const log = session.failure === undefined ? await kernelLog(step, evidence) : step === lost ? session.console : ''
    const complaint = await readFile(join(evidence, step.name, 'stderr'), 'utf8').catch(() => '')
    broken ??= whyBroken(step, livepatch, log) ?? whyNotLoaded(step, complaint)
    if (variant) {
      runs.set(variant, variantRun(one, step, {log, complaint}, broken ?? missing(step, session)))
      broken = step.status === 'done' ? broken : (broken ?? missing(step, session))
    } else if (step.status === 'unfinished') {
      broken ??= missing(step, session)
    }
  }
  return runs
}

async function kernelLog({name}: StepResult, evidence: string): Promise<string> {
  return await readFile(join(evidence, name, 'kernel.log'), 'utf8').catch(() => '')
}

function whyBroken({name, status, reason}: StepResult, livepatch: Livepatch | undefined, log: string): string | undefined {
  if (status === 'failed') return withKernelReason(reason!, log)
  if (status === 'done' && livepatch && (name === 'load' || name === 'unload')) {
    const unknown = /unknown parameter '(.*?)' ignored/.exec(log)?.[1]
    if (unknown) return `${livepatch.module} has no parameter '${unknown}', which case.yaml gives it`
    return checkTransition(name, livepatch.module, log)
  }
  return undefined
}

/** A ruleset that does not load is told in nft's own words. */
export function whyNotLoaded({name, status, exit = 0}: StepResult, complaint: string): string | undefined {
  if (name !== RULESET_STEP || status !== 'done' || exit === 0) return undefined
  return lastLines(printable(complaint), 10) || `${RULESET_STEP} ended with exit code ${exit}`
}

/** When a module is refused, the kernel's log says more than the error code. */
function withKernelReason(reason: string, log: string): string {
  if (!reason.startsWith('the kernel refused')) return reason
  const lines = log.trim().split('\n').map((line) => line.replace(/^\[.*?\] /, ''))
  const telling = lines.filter((line) => !/taint|verification failed/.test(line)).at(-1)
  return telling ? `${reason} (${telling})` : reason
}

function missing({status, name}: StepResult, {failure}: SessionResult): string | undefined {
  if (failure !== undefined) return failure
  return status === 'unfinished' ? `the session ended before '${name}'` : undefined
}

/** What a reproducer that failed says itself is worth more than what it did not print. */
function whyIncomplete({exit}: StepResult, {broken}: Ktap, complaint: string): string | undefined {
  if (!exit) return broken
  const words = complaint.trim() ? `:\n${lastLines(printable(complaint), 5)}` : ''
  return `the reproducer ended with exit code ${exit}${broken ? ` (${broken.replace('the reproducer', 'it')})` : ''}${words}`
}

function variantRun(one: Case, step: StepResult, {log, complaint}: {log: string; complaint: string}, broken: string | undefined): VariantRun {
  const ktap = parseKtap(step.ktap.join('\n'))
  const stray = ktap.tests.find(({name}) => ![...one.symptoms, ...one.controls].some((test) => test.name === name))
  const failure =
    broken ??
    whyIncomplete(step, ktap, complaint) ??
    (stray ? `the reproducer reported '${stray.name}', which case.yaml does not name` : undefined)
  return {tests: ktap.tests, splats: findSplats(log), ...(failure === undefined ? {} : {failure})}
}

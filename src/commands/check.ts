import {type Context} from '../lib/context.js'
import {EXIT} from '../lib/errors.js'
import {runTasks} from '../lib/tasks.js'
import {checkAnnotations, type Checked, checkJson, checkKtap, checkTable} from '../report/check.js'
import {checkSeries} from '../submit/check.js'
import {keepCheck} from '../submit/record.js'
import {leftOutBy} from '../submit/rows.js'
import {refuseIdle} from './options.js'
import {chosenSubmission, kernelOf, ownPerson, type Submission, type SubmissionOptions} from './submission.js'

export type CheckOptions = SubmissionOptions & {build: boolean; coccinelle: boolean; format: 'table' | 'json' | 'ktap' | 'github'; json?: boolean}

/** `patchbench check CASE`: what a maintainer's first look at the series would find. */
export async function checkCommand(context: Context, name: string, options: CheckOptions): Promise<{text: string; exit: number}> {
  const {build, debug, idle, json, format} = options
  if (!build) refuseIdle({debug, idle}, 'is about building the patches, and --no-build leaves that out: take one of them')
  if (json && format !== 'table' && format !== 'json') refuseIdle({format}, `${format} and --json are two forms: take one of them`)
  const [submission] = await runTasks(context, [{title: `the series of ${name}`, run: async (own) => await chosenSubmission(own, name, options)}])
  const {candidate, series, source} = submission!
  const [rows] = await runTasks(context, [{title: `checking ${candidate.name} on ${source.label}`, run: async (own) => await check(own, submission!, options)}])
  await keepCheck(series, source.label, rows!, new Date())
  const checked = {case: name, candidate: candidate.name, source: source.label, patches: series.patches.map(({title}) => title), rows: rows!}
  const exit = rows!.some(({state}) => state === 'failed') ? EXIT.missed : EXIT.ok
  return {text: textOf(checked, exit, options), exit}
}

async function check(context: Context, submission: Submission, options: CheckOptions) {
  const kernel = whyNotBuilt(submission, options) ?? (await kernelOf(context, submission, options))
  return await checkSeries(context, {series: submission.series, source: submission.source, kernel, own: await ownPerson(context), noCoccinelle: options.coccinelle ? undefined : leftOutBy('--no-coccinelle')})
}

function whyNotBuilt({source}: Submission, {build}: CheckOptions): string | undefined {
  if (!build) return leftOutBy('--no-build')
  return source.tree === 'linux' ? undefined : `${source.tree} has nothing to build here`
}

function textOf(checked: Checked, exit: number, {format, json}: CheckOptions): string {
  if (json || format === 'json') return checkJson(checked, exit)
  if (format === 'ktap') return checkKtap(checked)
  if (format === 'github') return checkAnnotations(checked)
  return checkTable(checked, process.stdout.isTTY && !process.env.NO_COLOR)
}

import {resolve} from 'node:path'
import {type Candidate, candidateOf, type Case, loadCase, seriesFor} from '../case/case.js'
import {builtKernel, type BuiltKernel} from '../kernel/built.js'
import {checkFragment} from '../kernel/fragment.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {readSeries, type Series} from '../series/series.js'
import {sourceFor} from '../submit/applies.js'
import {type Person, personOf} from '../submit/message.js'
import {type Kind} from '../tree/kinds.js'
import {type Source} from '../tree/source.js'
import {DEFAULT_LINE, type KernelOptions} from './kernels.js'
import {checkRefresh} from './options.js'

export type SubmissionOptions = Pick<KernelOptions, 'kernel' | 'source' | 'base' | 'refresh' | 'debug' | 'idle'> & {cases?: string; candidate?: string}

/** A candidate's series of one line, and the source that it is for. */
export type Submission = {one: Case; candidate: Candidate; line: string; /** Its folder. */ path: string; series: Series; source: Source}

/** A candidate, and which of its lines is meant. */
export async function chosenLine(name: string, options: SubmissionOptions): Promise<{one: Case; tree: Kind; candidate: Candidate; line: string}> {
  const one = await loadCase(name, options.cases && resolve(options.cases))
  const {tree} = one
  if (tree === 'ruleset') throw new InputError(`the case '${name}' is about rulesets: it has no series that could be sent`)
  const candidate = candidateOf(one, options.candidate)
  return {one, tree, candidate, line: lineOf(candidate, options.kernel)}
}

/** What `check` and `send` are about: the candidate's series for --kernel, on the distribution's source of the line or on --source. */
export async function chosenSubmission(context: Context, name: string, options: SubmissionOptions): Promise<Submission> {
  const {source: from, base, refresh} = options
  if (from === undefined && base !== undefined) throw new InputError('--base is a revision of --source, which is missing')
  const {one, tree, candidate, line} = await chosenLine(name, options)
  await checkRefresh({source: from, refresh})
  await checkFragment(one.kconfig)
  const path = seriesFor(candidate, line)
  const series = await readSeries(context.signal, [path])
  const source = await sourceFor(context, series, {tree, ...(from === undefined ? {line} : {from}), base, refresh})
  return {one, candidate, line, path, series, source}
}

/** --kernel says which of its series is meant, also where --source says what it applies to. */
function lineOf({name, series}: Candidate, kernel: string | undefined): string {
  if (kernel?.includes(',') || kernel?.includes('/')) throw new InputError(`--kernel ${kernel}: a series is checked and sent for one line, like 6.12`)
  if (kernel !== undefined) return kernel
  const lines = Object.keys(series)
  if (lines.length > 1 && !lines.includes(DEFAULT_LINE)) throw new InputError(`candidate ${name} has series for ${lines.join(', ')}: name one with --kernel`)
  return lines.length === 1 ? lines[0]! : DEFAULT_LINE
}

/** The kernel that the source builds, with the case's own options. */
export async function kernelOf(context: Context, {one, source}: Submission, {debug = [], idle = false}: SubmissionOptions): Promise<BuiltKernel> {
  return await builtKernel(context, source, {debug, idle, fragment: one.kconfig})
}

/** Who the user is to git, in the current folder. */
export async function ownPerson(context: Context): Promise<Person | undefined> {
  const {stdout, exitCode} = await git(process.cwd(), ['var', 'GIT_COMMITTER_IDENT'], {signal: context.signal, allowedExits: [0, 128]}, ['user.useConfigOnly=true'])
  return exitCode === 0 ? personOf(stdout.replace(/ \d+ [-+]\d+$/, '')) : undefined
}

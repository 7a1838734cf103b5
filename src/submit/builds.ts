import {type BuiltKernel, patchedKernel} from '../kernel/built.js'
import {buildPerCommit, type CommitBuild} from '../kernel/percommit.js'
import {type Context} from '../lib/context.js'
import {findProgram} from '../lib/hostpath.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'

/** Whether each patch builds, without a new warning of gcc (W=1) or sparse, and whether the series changes the kernel at all. */
export async function checkBuilds(context: Context, base: BuiltKernel, applied: {commit: string; tree: string}): Promise<Row[]> {
  const sparse = (await findProgram('sparse')) !== undefined
  const commits = await buildPerCommit(context, base, applied.commit, sparse)
  const rows = commits.flatMap((commit, index) => [...buildRows(commit, index + 1), ...sparseRows(commit, index + 1, sparse)])
  return [...rows, ...(await compiledInRows(context, base, applied, commits))]
}

/** The rows of checkBuilds where nothing is built. */
export function buildsNotRun(reason: string): Row[] {
  return ['build', 'sparse', 'compiled-in'].map((check) => notRun(check, null, reason))
}

function buildRows({error, warnings}: CommitBuild, patch: number): Row[] {
  if (error !== null) return rowsOf('build', patch, [{state: 'failed', ...placed(error)}])
  return rowsOf('build', patch, warnings.map((text) => ({state: 'failed', ...placed(text)})))
}

function sparseRows({error, sparse}: CommitBuild, patch: number, installed: boolean): Row[] {
  if (!installed) return [notRun('sparse', patch, 'sparse is not installed')]
  if (error !== null || sparse === null) return [notRun('sparse', patch, 'it does not build')]
  return rowsOf('sparse', patch, sparse.map((text) => ({state: 'warned', ...placed(text)})))
}

async function compiledInRows(context: Context, base: BuiltKernel, applied: {commit: string; tree: string}, commits: readonly CommitBuild[]): Promise<Row[]> {
  if (commits.some(({error}) => error !== null)) return [notRun('compiled-in', null, 'it does not build')]
  const {notes = []} = await patchedKernel(base, 'the series', applied).image(context)
  return rowsOf('compiled-in', null, notes.map((reason) => ({state: 'failed', reason: `${reason}: the kernel is the same to the byte`})))
}

/** `net/a.c:1:2: warning: text` as a place and a reason. */
function placed(text: string): Omit<Complaint, 'state'> {
  const [, place, reason] = /^([^\s:]+:\d+)(?::\d+)?: (.*)$/.exec(text) ?? []
  return reason === undefined ? {reason: text} : {place: place!, reason}
}

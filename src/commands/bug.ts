import {readFile} from 'node:fs/promises'
import {homedir} from 'node:os'
import {join, resolve} from 'node:path'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {readRouterArchive} from '../report/archive.js'
import {bugReport, type BugRun, type Upstream} from '../report/bug.js'

export type BugCommandOptions = {bug: Upstream; case?: string; symptom?: string; router?: string}

/** `patchbench report [RUN] --bug openwrt|netfilter`: the report of a bug, with what its maintainers ask for. */
export async function bugCommand(name: string | undefined, {bug, router, ...options}: BugCommandOptions): Promise<string> {
  const run = await readRun(name)
  const gathered = router === undefined ? undefined : await readRouterArchive(resolve(router))
  return (await bugReport(run, {...options, upstream: bug, router: gathered})).trimEnd()
}

/** A run by its folder; the last one where none is named. */
async function readRun(name: string | undefined): Promise<BugRun> {
  const state = process.env.XDG_STATE_HOME ?? join(homedir(), '.local/state')
  const folder = resolve(name ?? join(state, 'patchbench/runs/latest'))
  const text = await readFile(join(folder, 'results.json'), 'utf8').catch(() => undefined)
  if (text === undefined) throw new InputError(`${name ?? 'the last run'} is no run: name a folder that compare left, with results.json in it`)
  const {version} = JSON.parse(await readFile(projectPath('package.json'), 'utf8')) as {version: string}
  try {
    const {results, pairs, leftOut} = JSON.parse(text) as BugRun
    if (!Array.isArray(results) || !Array.isArray(pairs)) throw new SyntaxError()
    return {results, pairs, leftOut, folder, version}
  } catch {
    throw new InputError(`${folder}/results.json is not what compare writes`)
  }
}

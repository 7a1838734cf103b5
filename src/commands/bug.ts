import {resolve} from 'node:path'
import {projectVersion} from '../lib/project.js'
import {readRouterArchive} from '../report/archive.js'
import {bugReport, type Upstream} from '../report/bug.js'
import {readRun} from '../run/folder.js'

export type BugCommandOptions = {bug: Upstream; case?: string; symptom?: string; router?: string}

/** `patchbench report [RUN] --bug openwrt|netfilter`: the report of a bug, with what its maintainers ask for. */
export async function bugCommand(name: string | undefined, {bug, router, ...options}: BugCommandOptions): Promise<string> {
  const stored = await readRun(name)
  const run = {...stored, version: projectVersion(), command: stored.about.command}
  const gathered = router === undefined ? undefined : await readRouterArchive(resolve(router))
  return (await bugReport(run, {...options, upstream: bug, router: gathered})).trimEnd()
}

import {execa} from 'execa'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {projectPath} from '../lib/project.js'
import {restore} from '../machine/session.js'
import {type Snapshot} from '../machine/snapshot.js'
import {type PairRecord} from '../run/compare.js'

const VARIANTS = ['base', 'livepatched', 'reverted']
const TRANSITIONS = ['load', 'unload']

/** One warm comparison as a user runs it, and what of it was the machines' own work; in s. */
export type WarmRun = {wall: number; reproducers: number; transitions: number; sessions: number}

/** Times `patchbench compare CASE` as a whole process, one machine at a time or as many as there are cores. */
export async function warmCompare(name: string, jobs: number): Promise<WarmRun> {
  const output = await mkdtemp(join(tmpdir(), 'patchbench-bench-'))
  try {
    const started = performance.now()
    const command = [projectPath('bin/patchbench'), 'compare', name, '--no-trace', '--json', '--output', output, '--jobs', String(jobs)]
    const {stdout} = await execa('node', command, {stderr: 'ignore'})
    const wall = (performance.now() - started) / 1000
    const {pairs} = JSON.parse(stdout) as {pairs: PairRecord[]}
    const steps = pairs.flatMap(({sessions}) => sessions.flatMap((session) => Object.entries(session.steps)))
    const total = (names: readonly string[]) => steps.filter(([step]) => names.includes(step)).reduce((sum, [, seconds]) => sum + seconds, 0)
    const sessions = pairs.reduce((sum, pair) => sum + pair.sessions.length, 0)
    return {wall, reproducers: total(VARIANTS), transitions: total(TRANSITIONS), sessions}
  } finally {
    await rm(output, {recursive: true, force: true})
  }
}

/** Restores a machine and lets it go: what a session costs at least, in s. */
export async function bareRestore(context: Context, snapshot: Snapshot): Promise<number> {
  const started = performance.now()
  const machine = await restore(context, snapshot)
  const seconds = (performance.now() - started) / 1000
  await machine.kill()
  return seconds
}

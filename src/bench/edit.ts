import {execa} from 'execa'
import {cp, mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Case, livepatchOf, loadCase} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {projectPath} from '../lib/project.js'
import {buildLivepatch} from '../livepatch/build.js'
import {runSession} from '../machine/session.js'
import {type Snapshot} from '../machine/snapshot.js'
import {sessionJob, sessionLimits} from '../run/sessions.js'

/** One edit of a livepatch, in s: from the save to the verdict, and a module build and its machine done alone. */
export type EditRun = {verdict: number; build: number; machine: number}

const VARIANTS = ['livepatched'] as const

/** Edits the livepatch of a case under `patchbench watch`, in turns with the bare work that an edit costs. */
export async function editsToVerdicts(context: Context, name: string, kernel: Kernel, snapshot: Snapshot, runs: number): Promise<EditRun[]> {
  const home = await mkdtemp(join(tmpdir(), 'patchbench-bench-edit-'))
  const watched = await copyOf(name, join(home, 'watched'))
  const alone = await copyOf(name, join(home, 'alone'))
  const words = ['watch', name, '--cases', watched.cases, '--kernel', kernel.line, '--variant', VARIANTS.join(','), '--json', '--output', join(home, 'run')]
  const child = execa('node', [projectPath('bin/patchbench'), ...words], {reject: false, stdin: 'ignore', stderr: 'ignore', buffer: false})
  try {
    const verdicts = child.iterable({from: 'stdout'})[Symbol.asyncIterator]()
    await verdicts.next()
    const results: EditRun[] = []
    for (let run = 0; run < runs; run++) {
      await edit(alone, 2 * run)
      const bare = await bareEdit(context, alone.one, kernel, snapshot, join(home, `bare-${run}`))
      const started = performance.now()
      await edit(watched, 2 * run + 1)
      if ((await verdicts.next()).done) throw new Error('patchbench watch has ended')
      results.push({verdict: (performance.now() - started) / 1000, ...bare})
    }
    return results
  } finally {
    child.kill('SIGINT')
    await child
    await rm(home, {recursive: true, force: true})
  }
}

type Copy = {cases: string; one: Case; source: string; text: string}

async function copyOf(name: string, home: string): Promise<Copy> {
  for (const part of ['patches', 'livepatch']) await cp(projectPath(part, name), join(home, part, name), {recursive: true})
  await mkdir(join(home, 'vm'))
  await cp(projectPath('vm', `${name}.py`), join(home, 'vm', `${name}.py`))
  const cases = join(home, 'patches')
  const one = await loadCase(name, cases)
  const source = join(livepatchOf(one).source, `livepatch-${name}.c`)
  return {cases, one, source, text: await readFile(source, 'utf8')}
}

/** No two modules are the same: what has been built or run is not built or run again. */
async function edit({source, text}: Copy, number: number): Promise<void> {
  await writeFile(source, `${text}\nstatic const char patchbench_bench[] __used = "${process.pid} ${number}";\n`)
}

async function bareEdit(context: Context, one: Case, kernel: Kernel, snapshot: Snapshot, evidence: string): Promise<Omit<EditRun, 'verdict'>> {
  const livepatch = livepatchOf(one)
  const started = performance.now()
  const module = await buildLivepatch(context, livepatch, kernel)
  const built = performance.now()
  const {hardware} = snapshot
  await runSession(context, {snapshot, job: sessionJob(one, VARIANTS, {loadable: {livepatch, module}}, hardware), limits: sessionLimits(one, VARIANTS, hardware), evidence})
  return {build: (built - started) / 1000, machine: (performance.now() - built) / 1000}
}

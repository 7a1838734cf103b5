// npm run bench: both sides of every comparison in one go, printed as ratios.
import {availableParallelism} from 'node:os'
import {livepatchOf, loadCase} from '../case/case.js'
import {packagedKernel} from '../kernel/packaged.js'
import {cacheDirectory} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {projectPath} from '../lib/project.js'
import {buildLivepatch} from '../livepatch/build.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {caseSnapshot} from '../run/machines.js'
import {editsToVerdicts} from './edit.js'
import {showSpread, spread} from './statistics.js'
import {loadedOverUnloaded} from './throughput.js'
import {threeVngRuns} from './vng.js'
import {bareRestore, type WarmRun, warmCompare} from './warm.js'

const RUNS = 7
const ROUNDS = 7
/** Programs of vm/bench, which print what the livepatch must not slow down. */
const THROUGHPUT = ['ipmr-loopback', 'vrf-lookup', 'flowtable-dst']

const interruption = new AbortController()
process.on('SIGINT', () => interruption.abort(new Error('interrupted')))
const context: Context = {
  signal: interruption.signal,
  cache: cacheDirectory(),
  progress: (text) => void process.stderr.write(`${text}\n`),
}

const kernel = await packagedKernel(context, '6.12')
const {accelerator, why} = await chooseAccelerator(context, 'auto', kernel)
console.log(`${kernel.label} under ${accelerator} (${why}), ${availableParallelism()} cores; median (min to max)`)
await warm()
await edits()
for (const name of THROUGHPUT) await throughput(name)

async function warm(): Promise<void> {
  const one = await loadCase('ipmr-loopback')
  const snapshot = await caseSnapshot(context, one, kernel, {accelerator})
  await warmCompare(one.name, 1)
  const restores = await repeat(RUNS, async () => await bareRestore(context, snapshot))
  const restore = spread(restores).median
  const single = await repeat(RUNS, async () => await warmCompare(one.name, 1))
  const parallel = await repeat(RUNS, async () => await warmCompare(one.name, availableParallelism()))
  const bare = (run: WarmRun) => run.sessions * restore + run.reproducers
  const over = (runs: WarmRun[]) => showSpread(spread(runs.map((run) => run.wall / bare(run))))
  const withTransitions = single.map((run) => run.wall / (bare(run) + run.transitions))
  console.log(`warm compare, s: ${showSpread(spread(parallel.map(({wall}) => wall)))}; with --jobs 1: ${showSpread(spread(single.map(({wall}) => wall)))}`)
  console.log(`warm compare / (restores + reproducer): ${over(parallel)}; with --jobs 1: ${over(single)}`)
  console.log(`  with --jobs 1, the livepatch's transitions counted as work: ${showSpread(spread(withTransitions))}`)
  console.log(`restore, s: ${showSpread(spread(restores), 3)}; cold boot / restore: ${(snapshot.seconds.boot / restore).toFixed(0)}`)
  const vng = await threeVngRuns(await kernel.image(context), accelerator === 'kvm')
  const wall = spread(parallel.map((run) => run.wall)).median
  console.log(vng === undefined ? 'three vng runs / warm compare: not run, virtme-ng is not installed or does not boot this kernel' : `three vng --exec true / warm compare: ${(vng / wall).toFixed(1)}`)
}

async function edits(): Promise<void> {
  const one = await loadCase('ipmr-loopback')
  const snapshot = await caseSnapshot(context, one, kernel, {accelerator})
  const measured = await editsToVerdicts(context, one.name, kernel, snapshot, RUNS)
  const ratio = spread(measured.map(({verdict, build, machine}) => verdict / (build + machine)))
  console.log(`watch, an edit of a livepatch to its verdict, s: ${showSpread(spread(measured.map(({verdict}) => verdict)))}`)
  console.log(`  over its module build + machine alone: ${showSpread(ratio)}`)
}

async function throughput(name: string): Promise<void> {
  const loaded = await loadCase(name)
  // Throughput is measured on a clock that does not leap.
  const one = {...loaded, reproducer: {...loaded.reproducer, time: 'real' as const}}
  const snapshot = await caseSnapshot(context, one, kernel, {accelerator})
  const module = await buildLivepatch(context, livepatchOf(one), kernel)
  const measured = await loadedOverUnloaded(context, one, projectPath('vm/bench', `${name}.py`), module, snapshot, ROUNDS)
  for (const [figure, ratios] of measured) {
    console.log(`${name}: ${figure} loaded / unloaded: ${showSpread(spread(ratios), 3)}`)
  }
}

async function repeat<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let run = 0; run < count; run++) results.push(await work())
  return results
}

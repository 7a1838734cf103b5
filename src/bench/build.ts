// npm run bench:build: what building costs over what it costs by hand, both sides in one go. Takes most of an hour on two cores.
import {mkdir, mkdtemp, rm} from 'node:fs/promises'
import {availableParallelism} from 'node:os'
import {join} from 'node:path'
import {execa} from 'execa'
import {candidateOf, loadCase} from '../case/case.js'
import {builtKernel, type BuiltKernel, FRAGMENTS} from '../kernel/built.js'
import {configure} from '../kernel/configure.js'
import {checkOutOver, copyBuild} from '../kernel/copy.js'
import {readFragments} from '../kernel/fragment.js'
import {MAKE_ENVIRONMENT} from '../kernel/make.js'
import {cacheDirectory, forget} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {makeFolder} from '../lib/files.js'
import {projectPath} from '../lib/project.js'
import {findVng} from '../machine/vng.js'
import {type PairRecord} from '../run/compare.js'
import {patchedWith} from '../run/patched.js'
import {checkOut} from '../tree/checkout.js'
import {type Source, sourceTree} from '../tree/source.js'
import {showSpread, spread} from './statistics.js'

const LINE = '6.12'
const CASE = 'ipmr-loopback'
const CANDIDATE = 'local-input'
const RUNS = 3

const interruption = new AbortController()
process.on('SIGINT', () => interruption.abort(new Error('interrupted')))
const context: Context = {signal: interruption.signal, cache: cacheDirectory(), progress: (text) => void process.stderr.write(`${text}\n`)}

type Cost = {/** Processor time of all processes, s. */ cpu: number; wall: number}

/** What a command costs, with all that it starts (bash's `times`, as getrusage has it of children). */
async function cost(folder: string, command: readonly string[], env: Record<string, string> = {}): Promise<Cost> {
  const {stderr} = await execa('bash', ['-c', 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null 2>&1', 'bash', ...command], {
    cwd: folder,
    env: {...MAKE_ENVIRONMENT, ...env, CCACHE_DISABLE: '1'},
    stdin: 'ignore',
    cancelSignal: context.signal,
  })
  const [wall = 0, user = 0, system = 0] = stderr.trim().split(' ').map(Number)
  return {cpu: user + system, wall}
}

const makeAll = ['make', `-j${availableParallelism()}`, 'bzImage', 'modules']

/** A cold build of our configuration over one of virtme-ng's own, of the same source. */
async function cold(source: Source, home: string): Promise<void> {
  const folder = join(home, 'cold')
  await mkdir(folder)
  await checkOut(context.signal, source.directory, source.commit, folder)
  await mkdir(join(folder, 'build'))
  await configure(context, join(folder, 'build'), await readFragments(FRAGMENTS.map((name) => projectPath('kconfigs', `${name}.config`)), source.line))
  const ours = await cost(join(folder, 'build'), makeAll)
  await rm(join(folder, 'build'), {recursive: true})
  const vng = await findVng(context)
  await execa(join(vng.program, '../virtme-configkernel'), ['--defconfig'], {cwd: folder, env: vng.env, stdin: 'ignore'})
  const theirs = await cost(folder, makeAll)
  console.log(`cold build, CPU minutes: ${(ours.cpu / 60).toFixed(1)}; of virtme-ng's default configuration: ${(theirs.cpu / 60).toFixed(1)}`)
  console.log(`cold build, ours / virtme-ng's: ${(ours.cpu / theirs.cpu).toFixed(2)}`)
}

/** A one-file patch to its verdict over the same make, boots and reproducer by hand. */
async function onePatch(base: BuiltKernel, home: string): Promise<void> {
  const {commit, kernel} = await patchedWith(context, candidateOf(await loadCase(CASE), CANDIDATE), base)
  const ratios: number[] = []
  for (let run = 0; run < RUNS; run++) {
    const folder = join(home, `bare-${run}`)
    await copyBuild(context.signal, await base.folder(context), folder)
    await checkOutOver(context.signal, base.source.directory, base.source.commit, commit, folder)
    const bare = await cost(join(folder, 'build'), makeAll)
    await rm(folder, {recursive: true})
    await forget(context, 'patched', kernel.key)
    const {wall, booted, reproducers} = await compareOnce(home, run)
    ratios.push(wall / (bare.wall + booted + reproducers))
    console.log(`  make ${bare.wall.toFixed(1)} s, boot ${booted.toFixed(1)} s, reproducers ${reproducers.toFixed(1)} s; to verdict ${wall.toFixed(1)} s`)
  }
  console.log(`one-file patch to verdict / (incremental make + boot + reproducers): ${showSpread(spread(ratios))}`)
}

async function compareOnce(home: string, run: number): Promise<{wall: number; booted: number; reproducers: number}> {
  const output = join(home, `run-${run}`)
  const started = performance.now()
  const words = [projectPath('bin/patchbench'), 'compare', CASE, '--variant', 'patched', '--candidate', CANDIDATE, '--kernel', LINE, '--no-trace', '--json', '--output', output]
  const {stdout} = await execa('node', words, {stderr: 'ignore', env: {CCACHE_DISABLE: '1'}, cancelSignal: context.signal})
  const wall = (performance.now() - started) / 1000
  const sessions = (JSON.parse(stdout) as {pairs: PairRecord[]}).pairs.flatMap((pair) => pair.sessions)
  const reproducers = sessions.flatMap(({steps}) => Object.values(steps)).reduce((sum, seconds) => sum + seconds, 0)
  const booted = Math.max(0, ...sessions.map(({boot}) => boot))
  return {wall, booted, reproducers}
}

const source = await sourceTree(context, {tree: 'linux', line: LINE})
const base = await builtKernel(context, source)
await base.image(context)
await makeFolder(join(context.cache, 'scratch'))
const home = await mkdtemp(join(context.cache, 'scratch', 'bench-'))
try {
  await onePatch(base, home)
  await cold(source, home)
} finally {
  await rm(home, {recursive: true, force: true})
}

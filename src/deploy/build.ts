import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Livepatch} from '../case/case.js'
import {runCopied} from '../host/copy.js'
import {type Host, type Remote} from '../host/ssh.js'
import {firstError} from '../kernel/make.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {keyOf, sha256} from '../lib/hash.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {type LivepatchModule, sourcesOf} from '../livepatch/build.js'

/** How long a build on a host may take, in s. */
const PATIENCE = 900

/** Of a module with its debugging information, in bytes; ours have half a MiB. */
const LARGEST = 16 << 20

const EXITS = {built: 0, lacking: 3, failed: 4, late: 5}

/** How make and shells say that the kernel's compiler is not there; kernels of distributions name theirs with its version. */
const NO_COMPILER = /^(?:make(?:\[\d+\])?|\S*sh)(?:: line)?(?:: \d+)?: ([\w./-]*(?:gcc|clang)[\w.-]*): (?:command )?(?:not found|No such file)/m

/**
 * A livepatch's module, built on a host for the kernel that it runs, by its own
 * make, compiler and headers. Nothing of it stays there. What came is the
 * host's: hostile until it was read as a module.
 *
 * @throws CouldNotRun when the host lacks what it takes, with what to do; when it does not compile, with the compiler's first error
 */
export async function buildOnHost(context: Context, host: Host, livepatch: Livepatch, release: string): Promise<LivepatchModule> {
  const {module, source} = livepatch
  const {files, kbuild, made} = await sourcesOf(livepatch, release)
  const sent = Object.fromEntries(Object.keys(files).map((name) => [name, join(source, name)]))
  context.progress(`${host.name}: building ${module} there`)
  const words = ['build.sh', 'build', made, String(PATIENCE)] as const
  const limits = {deadline: (PATIENCE + 60) * 1000, limit: LARGEST, allowedExits: Object.values(EXITS)}
  const answer = await runCopied(context, host, {...sent, Kbuild: Buffer.from(kbuild), 'build.sh': projectPath('src/deploy/build.sh')}, words, limits)
  const bytes = moduleIn(answer, {host: host.name, release: printable(release), source})
  // By what it is, and not by what it was made of: only the host knows that.
  const inputs = {module, sha256: sha256(bytes)}
  const kept = await artefact(context, 'module', keyOf(inputs), inputs, async (into) => await writeFile(join(into, `${module}.ko`), bytes))
  return {path: join(kept.directory, `${module}.ko`), sha256: inputs.sha256}
}

/** The module in what build.sh printed. */
function moduleIn({exitCode, stdout, stderr}: Remote, {host, release, source}: {host: string; release: string; source: string}): Buffer {
  const said = printable(stderr)
  if (exitCode === EXITS.lacking) throw lacking(host, release, said.split('\n').filter((word) => ['make', 'setsid', 'headers'].includes(word)))
  if (exitCode === EXITS.late) throw new CouldNotRun(`${host} had not built the livepatch after ${PATIENCE} s, and gave up`)
  if (exitCode === EXITS.failed) {
    const compiler = NO_COMPILER.exec(said)?.[1]
    if (compiler !== undefined) throw lacking(host, release, [compiler])
    const folder = /\/tmp\/patchbench\.\w+/.exec(said)?.[0] ?? '/tmp/patchbench.'
    throw new CouldNotRun(`the livepatch does not build on ${host} for ${release}: ${firstError(said, folder, source)}`)
  }
  const [, sum] = /^([\da-f]{64})\n/.exec(stdout.toString('latin1', 0, 65)) ?? []
  const bytes = stdout.subarray(65)
  if (sum !== sha256(bytes)) throw new CouldNotRun(`${host} sent no module, or one that was damaged on its way: try again`)
  return bytes
}

function lacking(host: string, release: string, what: readonly string[]): CouldNotRun {
  const words = what.map((one) => (one === 'headers' ? `headers of the kernel ${release} that it runs (/lib/modules/${release}/build)` : one))
  return new CouldNotRun(`${host} cannot build modules: it has no ${words.join(', and no ')}: install that there, or build here by leaving --build-on host out`)
}

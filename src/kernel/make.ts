import {createWriteStream} from 'node:fs'
import {availableParallelism} from 'node:os'
import {dirname} from 'node:path'
import {finished} from 'node:stream/promises'
import {type Places, runConfined} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'

/** What would otherwise tell one build of a source from another (Documentation/kbuild/reproducible-builds.rst). */
export const MAKE_ENVIRONMENT = {
  KBUILD_BUILD_TIMESTAMP: '1970-01-01',
  KBUILD_BUILD_USER: 'patchbench',
  KBUILD_BUILD_HOST: 'localhost',
  KBUILD_BUILD_VERSION: '1',
  // Without it a tree in git gets a "+" that one from a tarball has not.
  LOCALVERSION: '-patchbench',
}

export type MakeOptions = {
  /** source/build, where the objects go. */
  build: string
  arguments: readonly string[]
  /** A file that everything make prints is added to. */
  log?: string
  /** How many objects there are to build, where that is known. */
  expected?: number
  /** Whether to leave the processor to everybody else (chrt(1), SCHED_IDLE). */
  idle?: boolean
}

/** How many objects make built, and all that it printed. */
export type Made = {objects: number; output: string}

export class BuildFailed extends CouldNotRun {
  readonly firstError: string

  constructor(what: string, firstError: string, log: string | undefined) {
    super(`${what} does not build: ${firstError}`, log && `the whole log is in ${log}`)
    this.firstError = firstError
  }
}

/**
 * Runs make in a kernel's build folder, and says how far it is.
 *
 * @throws BuildFailed with the compiler's first complaint
 */
export async function make(context: Context, what: string, {build, arguments: words, log, expected, idle}: MakeOptions): Promise<Made> {
  let objects = 0
  const kept = log ? createWriteStream(log, {flags: 'a'}) : undefined
  // Heard from the start: a full disk under the log must not end patchbench, and costs no build.
  const written = kept && finished(kept).then(() => log, () => undefined)
  const isDue = ticker(1000)
  const onLine = (line: string) => {
    kept?.write(`${line}\n`)
    if (/^ {2}(CC|AS) /.test(line)) objects += 1
    if (isDue()) context.progress(`building ${what}: ${objects}${expected ? ` of about ${expected}` : ''} objects`)
  }
  // Not in the build folder itself: since 6.13 the Makefile there names the place where it was made.
  const command = ['make', '-C', '..', 'O=build', '--no-print-directory', `-j${availableParallelism()}`, ...words]
  const [program, ...rest] = idle ? ['chrt', '--idle', '0', ...command] : command
  try {
    const {exitCode, all} = await runConfined(context, program!, rest, buildPlaces(build), {cwd: build, onLine, env: MAKE_ENVIRONMENT, allowedExits: 'any'})
    kept?.end()
    if (exitCode !== 0) throw new BuildFailed(what, firstError(all, build, ''), await written)
    return {objects, output: all}
  } finally {
    kept?.end()
    await written
  }
}

/** What make sees of a kernel's source/build: the sources, and the build to write. */
export function buildPlaces(build: string): Places {
  return {reads: [dirname(build)], writes: [build]}
}

/** The compiler in its own words: another one makes another kernel. */
export async function compilerVersion(context: Context): Promise<string> {
  const {stdout} = await runConfined(context, 'gcc', ['--version'], {writes: [], reads: []})
  return stdout.split('\n')[0] ?? ''
}

/** The compiler's first complaint, with the file as the user knows it. */
export function firstError(output: string, scratch: string, source: string): string {
  const lines = output.split('\n')
  const line =
    lines.find((one) => /:\d+(?::\d+)?: (?:fatal )?error: /.test(one)) ??
    // The assembler's.
    lines.find((one) => /:\d+: Error: /.test(one)) ??
    lines.find((one) => /^ERROR: |error:|\bundefined!|undefined reference|No space left/.test(one)) ??
    // A program that the build wants, or its library.
    lines.find((one) => /: (?:not found|No such file or directory)$|error while loading/.test(one)) ??
    lines.filter(Boolean).at(-1) ??
    'make said nothing'
  return line.trim().replace(/^(?:\.\.\/)+/, '').replaceAll(scratch, source)
}

/** True once in a while (ms): progress, not a flood. */
function ticker(pause: number): () => boolean {
  let last = 0
  return () => {
    if (Date.now() - last < pause) return false
    last = Date.now()
    return true
  }
}

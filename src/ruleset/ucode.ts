import {access, constants, readdir, realpath, stat} from 'node:fs/promises'
import {basename, dirname, join, resolve} from 'node:path'
import {runConfined} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {sha256File} from '../lib/hash.js'
import {findProgram} from '../lib/hostpath.js'
import {type Finished, lastLines, run, type RunOptions} from '../lib/process.js'
import {printable} from '../lib/text.js'

/** The interpreter of firewall4's language, which does what it is asked. */
export type Ucode = {
  path: string
  /** SHA-256 of its program, its libraries and the modules that it loads, by path. */
  files: Record<string, string>
}

/** Where ucode is to be had: no distribution that patchbench runs on packages it, and patchbench does not build it. */
export const UCODE_PAGE = 'https://github.com/jow-/ucode'

/** How long one run of a program of firewall4's may take, in s; its whole test-suite takes two. */
const DEADLINE = 120
const TIMEOUT = ['--kill-after=5', String(DEADLINE)]

/** Renders, loads the module that firewall4's mocks need, and says which files it did that with. */
const PROBE = `{% let fs = require("fs"); print(render(() => print(fs.readfile("/proc/self/maps")))) %}`

/**
 * The ucode at a path, or else on PATH.
 *
 * @throws InputError when there is none at the path
 * @throws CouldNotRun when there is none, or it cannot do what rendering needs
 */
export async function findUcode(context: Context, named?: string): Promise<Ucode> {
  const found = named === undefined ? await findProgram('ucode') : resolve(named)
  const path = found && (await realpath(found).catch(() => undefined))
  if (path === undefined && named !== undefined) throw new InputError(`--ucode ${named} is not there: name the program ucode (${UCODE_PAGE})`)
  if (path === undefined) throw new CouldNotRun(`there is no ucode on PATH, which renders firewall4's rulesets: build it (${UCODE_PAGE}) and name it with --ucode PATH`)
  if (!(await stat(path)).isFile()) throw new InputError(`--ucode ${path} is no file: name the program ucode in it`)
  const isExecutable = await access(path, constants.X_OK).then(() => true, () => false)
  if (!isExecutable) throw new InputError(`--ucode ${path} is not executable: chmod +x it, if it is ucode`)
  const probe = await runApart(context.signal, path, ['-S', '-T,', '-'], {input: PROBE})
  const files = probe.exitCode === 0 ? await mappedFiles(probe.stdout) : {}
  const [program] = Object.keys(files).filter((file) => basename(file) === 'ucode')
  // What runs has to be what is named and has a checksum: a script may start another one tomorrow.
  if (program !== undefined && !(path in files)) throw new InputError(`--ucode ${path} is a script that starts ${printable(program)}: name that program itself`)
  if (!(path in files)) throw new CouldNotRun(`${path} does not work as ucode with its module fs: ${whyNot(probe)}; ucode is at ${UCODE_PAGE}`, lastLines(probe.all, 5))
  return {path, files}
}

function whyNot({exitCode, stdout}: Finished): string {
  if (exitCode === 126 || exitCode === 127) return 'it cannot be started'
  if (exitCode !== 0) return `it ended with exit code ${exitCode}, as one does that is no ucode, or has not all of its modules`
  return stdout.trim() === '' ? 'it printed nothing, so it is no ucode' : 'what it printed is not what ucode prints, so it is none'
}

/** The files of /proc/PID/maps (proc(5)), with their checksums. */
async function mappedFiles(maps: string): Promise<Record<string, string>> {
  const paths = new Set(maps.split('\n').flatMap((line) => /\s(\/.*)$/.exec(line)?.[1] ?? []))
  return Object.fromEntries(await Promise.all([...paths].sort().map(async (path) => [path, await sha256File(path)] as const)))
}

/**
 * Runs a program of a tree of firewall4's with ucode: without network, and with
 * a deadline, after which it exits with 124 (timeout(1)). Where the context
 * confines, it sees ucode and one folder besides, which it may write to.
 */
export async function runWithUcode(context: Context, ucode: Ucode, program: string, args: readonly string[], folder: string, options: Omit<RunOptions, 'signal'>): Promise<Finished> {
  if (!context.confine) return await runApart(context.signal, program, args, options)
  const libraries = process.env.LD_LIBRARY_PATH
  const env = {...options.env, ...(libraries === undefined ? {} : {LD_LIBRARY_PATH: libraries})}
  const places = {writes: [folder], reads: await namesOf(ucode)}
  return endedInTime(program, await runConfined(context, 'timeout', [...TIMEOUT, program, ...args], places, {...options, env, allowedExits: 'any'}))
}

/** The files of ucode, and the links to them by which the linker finds them (ld.so(8)). */
async function namesOf({files}: Ucode): Promise<string[]> {
  const own = Object.keys(files)
  // The system's are there anyway.
  const folders = new Set(own.filter((path) => !/^\/(?:usr|lib)/.test(path)).map((path) => dirname(path)))
  const beside = await Promise.all([...folders].map(async (folder) => (await readdir(folder)).map((name) => join(folder, name))))
  const links = await Promise.all(beside.flat().map(async (path) => (own.includes(await realpath(path).catch(() => '')) ? [path] : [])))
  return [...new Set([...own, ...links.flat()])]
}

async function runApart(signal: AbortSignal, program: string, args: readonly string[], options: Omit<RunOptions, 'signal'>): Promise<Finished> {
  const words = ['--map-current-user', '--net', '--', 'timeout', ...TIMEOUT, program, ...args]
  const finished = await run('unshare', words, {...options, signal, allowedExits: 'any'})
  if (/^unshare: /m.test(finished.stderr)) throw new CouldNotRun('this host lets nobody run a program without network (unshare(1)), as firewall4 is to be run', lastLines(finished.stderr, 3))
  return endedInTime(program, finished)
}

function endedInTime(program: string, finished: Finished): Finished {
  if (finished.exitCode === 124) throw new CouldNotRun(`${program} did not end within ${DEADLINE} s`, lastLines(finished.all, 5))
  return finished
}

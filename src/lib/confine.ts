import {readlink, stat} from 'node:fs/promises'
import {dirname, resolve} from 'node:path'
import {type Context} from './context.js'
import {CouldNotRun, InputError} from './errors.js'
import {findProgram} from './hostpath.js'
import {type Finished, lastLines, run, type RunOptions} from './process.js'

/** The folders that a program needs to see: those that it may write to, and those that it only reads. */
export type Places = {writes: readonly string[]; reads: readonly string[]}

/** Makes a command line one that runs out of reach of everything but some folders. */
export type Confine = (command: readonly string[], places: Places, options: {cwd?: string | undefined; env?: Record<string, string> | undefined}) => string[]

/** What holds compilers and what they need; links on most systems, then made again as links. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/etc/alternatives', '/etc/ld.so.cache', '/etc/ld.so.conf', '/etc/ld.so.conf.d']

/** The size of TMPDIR, which is memory, in bytes. */
const TEMPORARY = 1 << 30

/** All of a sandbox's environment, beside what a program is given by name. */
const ENVIRONMENT = {
  ...{PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', TMPDIR: '/tmp'},
  // A folder that is not there, and a compiler cache that would want one.
  ...{HOME: '/nonexistent', CCACHE_DISABLE: '1'},
}

/**
 * Runs a program that may run what somebody else wrote: a kernel's Makefiles
 * and the programs that they build. Where the context confines, it gets its
 * folders and the system's programs, and nothing else of this machine; what it
 * left in them leads nowhere else.
 */
export async function runConfined(context: Context, program: string, args: readonly string[], places: Places, options: Omit<RunOptions, 'signal'> = {}): Promise<Finished> {
  const {signal, confine} = context
  if (!confine) return await run(program, args, {...options, signal})
  const {cwd, env, ...rest} = options
  const [first, ...others] = confine([program, ...args], places, {cwd, env})
  const result = await run(first!, others, {...rest, signal})
  await checkLeft(context, places)
  return result
}

/**
 * Confinement by bubblewrap (bwrap(1)): no network, no home, no environment of
 * ours, no other processes, the system read-only.
 *
 * @throws CouldNotRun when it does not work on this machine, with bubblewrap's own reason
 */
export async function bubblewrap(signal: AbortSignal): Promise<Confine> {
  const program = await findProgram('bwrap')
  if (!program) throw new CouldNotRun("bwrap is not installed: 'patchbench doctor' says which package holds it")
  const system = (await Promise.all(SYSTEM.map(async (path) => ((await stat(path).catch(() => undefined)) ? [path] : [])))).flat()
  const confine: Confine = (command, places, options) => [program, ...sandboxArguments(system, places, options), '--', ...command]
  const [first, ...others] = confine(['true'], {writes: [], reads: []}, {})
  const {exitCode, all} = await run(first!, others, {signal, allowedExits: 'any'})
  if (exitCode === 0) return confine
  throw new CouldNotRun('bubblewrap makes no sandbox here: are user namespaces allowed for this user (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)?', lastLines(all, 3))
}

function sandboxArguments(system: readonly string[], {writes, reads}: Places, {cwd, env}: Parameters<Confine>[2]): string[] {
  const variables = Object.entries({...ENVIRONMENT, ...env})
  return [
    ...['--unshare-all', '--unshare-user', '--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--hostname', 'sandbox', '--clearenv'],
    ...variables.flatMap(([name, value]) => ['--setenv', name, value]),
    ...system.flatMap((path) => ['--ro-bind', path, path]),
    ...['--proc', '/proc', '--dev', '/dev', '--size', String(TEMPORARY), '--tmpfs', '/tmp'],
    // A folder that is written to may stand in one that is read.
    ...reads.flatMap((path) => ['--ro-bind-try', path, path]),
    ...writes.flatMap((path) => ['--bind', path, path]),
    ...['--remount-ro', '/', '--chdir', cwd ?? '/'],
  ]
}

/** Refuses what a program left that would take us elsewhere, or be more than a file: we read there next, as ourselves. */
async function checkLeft(context: Context, {writes, reads}: Places): Promise<void> {
  const odd = ['(', '-type', 'l', '-printf', 'link %l\\0%p\\0', ')', '-o', '(', '!', '-type', 'f', '!', '-type', 'd', '-printf', 'device \\0%p\\0', ')']
  for (const folder of writes) {
    const {stdout} = await run('find', ['-P', folder, ...odd], {signal: context.signal})
    const words = stdout.split('\0')
    for (let at = 0; at + 1 < words.length; at += 2) {
      const [what, path] = [words[at]!, words[at + 1]!]
      if (what.startsWith('link ') && (await staysIn([...writes, ...reads], path))) continue
      throw new InputError(`the build left ${path}, which is ${what.startsWith('link ') ? `a link to ${what.slice(5)}, outside its folders` : 'no file and no folder'}: no build needs that, and it is refused`)
    }
  }
}

/** Whether a link ends in one of some folders, as written and step by step. */
async function staysIn(folders: readonly string[], link: string): Promise<boolean> {
  let path = link
  for (let steps = 0; steps < 8; steps++) {
    const target: string | undefined = await readlink(path).catch(() => undefined)
    // The end of the way; a first name that cannot be read again is one that we misread.
    if (target === undefined) return steps > 0
    path = resolve(dirname(path), target)
    if (!folders.some((folder) => path === folder || path.startsWith(`${folder}/`))) return false
  }
  return false
}

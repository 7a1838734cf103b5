import {execa} from 'execa'
import {CouldNotRun, Interrupted} from './errors.js'
import {hostPath} from './hostpath.js'

export type RunOptions = {
  cwd?: string
  env?: Record<string, string>
  input?: string | Uint8Array
  signal: AbortSignal
  /** Called with every line of standard output and standard error, for progress. */
  onLine?: (line: string) => void
  /** Which exit codes are an answer rather than a failure; only 0 by default. `any` takes signals as well. */
  allowedExits?: number[] | 'any'
}

/** exitCode is -1 when the program was ended by a signal. */
export type Finished = {stdout: string; stderr: string; all: string; exitCode: number}

/** How long a process may take to end by itself after SIGTERM, in ms. */
const GRACE = 3000

/**
 * Makes a child die with us even when we are killed with SIGKILL: setpriv(1)
 * sets PR_SET_PDEATHSIG and becomes the program.
 */
export function dyingWithUs(signal: 'TERM' | 'KILL', program: string, args: readonly string[]): [string, string[]] {
  return ['setpriv', ['--pdeathsig', signal, '--', program, ...args]]
}

/**
 * Runs a program to its end, in a process group of its own.
 *
 * @throws Interrupted when the signal aborts; the whole group has ended by then
 * @throws CouldNotRun when it exits otherwise than allowed, with the end of what it printed
 */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  options.signal.throwIfAborted()
  const [file, wrapped] = dyingWithUs('TERM', program, args)
  const child = execa(file, wrapped, {
    ...(options.cwd === undefined ? {} : {cwd: options.cwd}),
    ...(options.input === undefined ? {stdin: 'ignore'} : {input: options.input}),
    env: {LC_ALL: 'C.UTF-8', PATH: hostPath(), ...options.env},
    detached: true,
    cleanup: false,
    all: true,
    reject: false,
    maxBuffer: 64 << 20,
  })
  let ended: Promise<void> | undefined
  const stop = () => void (ended = endGroup(child.pid))
  options.signal.addEventListener('abort', stop, {once: true})
  try {
    if (options.onLine) {
      for await (const line of child.iterable({from: 'all'})) options.onLine(line)
    }
    const result = await child
    return finished(program, result, options)
  } finally {
    options.signal.removeEventListener('abort', stop)
    await ended
  }
}

type Ended = {stdout: string; stderr: string; all?: string; exitCode?: number; signal?: string; cause?: unknown}

function finished(program: string, result: Ended, options: RunOptions): Finished {
  if (options.signal.aborted) throw new Interrupted()
  const {stdout, stderr, all = '', exitCode} = result
  if (options.allowedExits === 'any') return {stdout, stderr, all, exitCode: exitCode ?? -1}
  if (exitCode !== undefined && (options.allowedExits ?? [0]).includes(exitCode)) return {stdout, stderr, all, exitCode}
  // setpriv's own words for a program that is not there (setpriv(1)); its exit code is 126 where a folder of PATH is closed to us.
  if (exitCode === 127 || ((exitCode === 1 || exitCode === 126) && stderr.includes('failed to execute'))) {
    throw new CouldNotRun(`${program} is not installed; 'patchbench doctor' says which package holds it`)
  }
  if (all.includes('No space left on device')) throw new CouldNotRun(`${program} found the disk full`, lastLines(all, 5))
  const how = result.signal ? `was ended by ${result.signal}` : `failed with exit code ${exitCode ?? 'unknown'}`
  throw new CouldNotRun(`${program} ${how}`, lastLines(all, 15))
}

/** The last lines of a text, for error details. */
export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n')
}

/** Ends a whole process group: SIGTERM, then SIGKILL for what is left after the grace period. */
export async function endGroup(pid: number | undefined, grace = GRACE): Promise<void> {
  if (pid === undefined || !signalGroup(pid, 'SIGTERM')) return
  if (await groupGone(pid, grace)) return
  signalGroup(pid, 'SIGKILL')
  // It is gone when the kernel and init have seen to it, which takes a moment.
  await groupGone(pid, grace)
}

/** Waits until a process group is gone; false when the time (ms) is over. */
async function groupGone(pid: number, patience: number): Promise<boolean> {
  const deadline = Date.now() + patience
  while (signalGroup(pid, 0)) {
    if (Date.now() > deadline) return false
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return true
}

/** Sends a signal to a process group; false when there is none any more. */
export function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch {
    return false
  }
}


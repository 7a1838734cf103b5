import {readFile} from 'node:fs/promises'
import {attempt, type Host, wholeScript} from '../host/ssh.js'
import {type Context} from '../lib/context.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {findSplats} from '../verdict/splat.js'
import {type HostState, lookAtHost} from './remote.js'

/** A thing that was looked at after a load. */
export type Check = {check: string; status: 'passed' | 'failed' | 'not-known'; reason: string}

/** How long a probe may take, in ms. */
const PATIENCE = 60_000

/** What a probe exits with where it cannot tell: automake's and kselftest's codes for a test that was skipped. */
const SKIPPED = [4, 77]

type Wanted = {module: string; buildId: string; /** The case's probe; undefined where it has none. */ probe: string | undefined}

/**
 * Whether a livepatch that was loaded does its work, and nothing was harmed.
 *
 * @param host over a connection that was made after the load: one that was there before may outlive what a new one cannot
 */
export async function verifyOnHost(context: Context, host: Host, {module, buildId, probe}: Wanted): Promise<Check[]> {
  const connection: Check = {check: 'connection', status: 'passed', reason: 'a new one was made after the load'}
  const ran = probe === undefined ? undefined : await runProbe(context, host, probe)
  // After the probe, so that what it makes the kernel say is seen.
  const {log, before, ...state} = await lookAtHost(context, host, module)
  return [connection, ...checksOf(state, {module, buildId}), splatCheck(log), taintCheck(before, state.tainted), ran ?? {check: 'probe', status: 'not-known', reason: 'the livepatch has none in case.yaml: whether it mends the bug was not tried here'}]
}

/** What sysfs says of it. */
export function checksOf({livepatches}: HostState, {module, buildId}: Pick<Wanted, 'module' | 'buildId'>): Check[] {
  const patch = livepatches.find(({name}) => name === module)
  if (!patch) return [{check: 'enabled', status: 'failed', reason: `${module} is not there`}]
  const off = patch.functions.filter(({patched}) => !patched)
  const {enabled, transition} = patch
  return [
    {check: 'enabled', status: enabled && !transition ? 'passed' : 'failed', reason: transition ? 'its transition is not done' : enabled ? 'enabled, its transition done' : 'it is disabled'},
    {check: 'module', status: patch.buildId === buildId ? 'passed' : 'failed', reason: patch.buildId === buildId ? `the build that was copied (${buildId.slice(0, 12)})` : `another build (${patch.buildId.slice(0, 12) || 'unknown'})`},
    functionsCheck(patch.functions.length, off.map(({object, name}) => `${object}:${name}`)),
  ]
}

function functionsCheck(all: number, off: readonly string[]): Check {
  if (off.length > 0) return {check: 'functions', status: 'not-known', reason: `${off.join(', ')} patched when its module is loaded; ${all - off.length} of ${all} are now`}
  return {check: 'functions', status: all > 0 ? 'passed' : 'failed', reason: all > 0 ? `${all} replaced` : 'none is replaced'}
}

/** What the kernel said since the load. */
export function splatCheck(log: string | undefined): Check {
  if (log === undefined) return {check: 'kernel log', status: 'not-known', reason: 'it no longer reaches back to the load'}
  const [first] = findSplats(log)
  return first ? {check: 'kernel log', status: 'failed', reason: first.title} : {check: 'kernel log', status: 'passed', reason: 'no splat since the load'}
}

/** Oops, bad page, warning, lockup: what a load does not set (K, O, E are its own). */
const WORSE = (1 << 4) | (1 << 5) | (1 << 7) | (1 << 9) | (1 << 14)

function taintCheck(before: number | undefined, now: number): Check {
  if (before === undefined) return {check: 'taint', status: 'not-known', reason: 'what it was before is not known'}
  const worse = now & ~before & WORSE
  return worse ? {check: 'taint', status: 'failed', reason: `${before} before, ${now} now`} : {check: 'taint', status: 'passed', reason: before === now ? `as before (${now})` : `${before} before, ${now} with an out-of-tree livepatch`}
}

async function runProbe(context: Context, host: Host, probe: string): Promise<Check> {
  // One that nobody hears any more has to end as it always does: it may have something to clear away.
  const input = wholeScript(`trap '' HUP INT TERM PIPE\n${await readFile(probe, 'utf8')}`)
  const {exitCode, ended, stdout, stderr} = await attempt(context, host, ['sh', '-s'], {input, deadline: PATIENCE, limit: 1 << 16})
  const said = lastLines(printable(stdout.toString('utf8') + stderr).trim(), 3).replaceAll('\n', '; ')
  if (ended !== undefined) return {check: 'probe', status: 'failed', reason: ended === 'too late' ? `not done after ${PATIENCE / 1000} s` : 'it printed too much'}
  if (SKIPPED.includes(exitCode)) return {check: 'probe', status: 'not-known', reason: said || 'it could not tell'}
  return {check: 'probe', status: exitCode === 0 ? 'passed' : 'failed', reason: said || `exit code ${exitCode}`}
}

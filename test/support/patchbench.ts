import {execa} from 'execa'
import {existsSync} from 'node:fs'
import {cp, mkdir, readdir, readFile, readlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {projectPath} from '../../src/lib/project.js'
import {type Result} from '../../src/run/results.js'
import {scratch} from './scratch.js'

export const BIN = projectPath('bin/patchbench')
export const FIXTURES = projectPath('test/fixtures/cases')

export type Compared = {exit: number; stdout: string; stderr: string; folder: string; results: Result[]}

export {scratch}

/** Runs `patchbench compare --json` as a user would, who wants no traces. */
export async function compare(args: readonly string[], env: Record<string, string> = {}): Promise<Compared> {
  return await compareTraced([...args, '--no-trace'], env)
}

/** The same with the sessions that record the cases' probes. */
export async function compareTraced(args: readonly string[], env: Record<string, string> = {}): Promise<Compared> {
  const folder = await scratch()
  const result = await execa('node', [BIN, 'compare', ...args, '--json', '--output', folder], {reject: false, env, stdin: 'ignore'})
  const parsed = result.stdout ? (JSON.parse(result.stdout) as {results: Result[]}) : {results: []}
  return {exit: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr, folder, results: parsed.results}
}

/** The verdicts by variant of the only case on the only kernel. */
export function verdicts(results: readonly Result[]): Record<string, string> {
  return Object.fromEntries(results.map(({variant, verdict}) => [variant, verdict]))
}

/** Why the cells have the verdicts that they have. */
export function reasons(results: readonly Result[]): string {
  return results.flatMap((result) => result.reasons).join('\n')
}

/** A copy of a shipped case in a folder of its own, for changing it; the folder for --cases. */
export async function copyOfCase(name: string): Promise<string> {
  const folder = await scratch()
  await mkdir(join(folder, 'vm'))
  const parts = ['patches', 'livepatch'].filter((part) => existsSync(projectPath(part, name)))
  for (const part of parts) await cp(projectPath(part, name), join(folder, part, name), {recursive: true})
  await cp(projectPath('vm', `${name}.py`), join(folder, 'vm', `${name}.py`))
  return join(folder, 'patches')
}

/** A copy of a shipped case whose livepatch was sabotaged: such a fix must not be called fixed. */
export async function sabotaged(name: string, change: (source: string) => string): Promise<string> {
  const cases = await copyOfCase(name)
  const file = join(cases, '../livepatch', name, `livepatch-${name}.c`)
  const source = await readFile(file, 'utf8')
  const changed = change(source)
  if (changed === source) throw new Error('the sabotage changed nothing')
  await writeFile(file, changed)
  return cases
}

/** The command lines of processes that work on a folder: in it, or with it among their arguments. */
export async function processesOn(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ').trim()
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (Number(pid) !== process.pid && (command.includes(folder) || cwd.startsWith(folder))) found.push(`${pid} ${command}`)
  }
  return found
}

/** Waits until something is true; false when the time is over. */
export async function eventually(condition: () => Promise<boolean> | boolean, seconds: number): Promise<boolean> {
  const deadline = Date.now() + seconds * 1000
  while (Date.now() < deadline) {
    if (await condition()) return true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return false
}

/** A folder with one case that shows its symptom, and a livepatch that replaces a kernel function by nothing. */
export async function caseWithLivepatch(name: string, replaced: string): Promise<string> {
  const folder = await scratch()
  await cp(join(FIXTURES, 'shown'), join(folder, name), {recursive: true})
  await mkdir(join(folder, 'source'))
  const source = await readFile(projectPath('test/fixtures/livepatch-nothing.c'), 'utf8')
  await writeFile(join(folder, 'source', `livepatch-${name}.c`), source.replace('FUNCTION', replaced))
  const file = join(folder, name, 'case.yaml')
  const livepatch = `livepatches:
  - name: ${name}
    source: ../source
    module: livepatch_${name}
    expect: {livepatched: fixed, reverted: restored}
`
  await writeFile(file, (await readFile(file, 'utf8')) + livepatch)
  return folder
}

import {access, readFile, statfs} from 'node:fs/promises'
import {basename} from 'node:path'
import {type Context} from '../lib/context.js'
import {CouldNotRun, EXIT} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {findProgram} from '../lib/hostpath.js'
import {run} from '../lib/process.js'
import {projectPath} from '../lib/project.js'
import {plainTable} from '../report/table.js'
import {findUcode} from '../ruleset/ucode.js'

type Finding = {name: string; state: 'there' | 'missing' | 'note'; detail: string; package?: string}
type HostPackage = {package: string; program?: string; file?: string; why: string}

/** What a first run keeps: kernels, root and snapshots of two lines, in MiB. */
const ROOM = 3000

/** `patchbench doctor`: what this machine has and lacks, and the one line that installs it. */
export async function doctorCommand(context: Context, options: {json?: boolean; ucode?: string}): Promise<{text: string; exit: number}> {
  const findings = [...(await hostPackages(context)), await kvm(), await ucode(context, options.ucode), await room(context)]
  const missing = findings.flatMap((one) => (one.state === 'missing' && one.package ? [one.package] : []))
  const mend = missing.length > 0 ? `apt-get install --yes --no-install-recommends ${missing.join(' ')}` : null
  const exit = findings.some(({state}) => state === 'missing') ? EXIT.couldNotRun : EXIT.ok
  if (options.json) return {text: JSON.stringify({schema: 1, findings, mend}, null, 2), exit}
  const table = plainTable(['what', 'state', 'detail'], findings.map(({name, state, detail}) => [name, state, detail]))
  return {text: mend ? `${table}\n\nThis installs what is missing (as root):\n  ${mend}` : table, exit}
}

async function hostPackages(context: Context): Promise<Finding[]> {
  const packages = JSON.parse(await readFile(projectPath('bin/host-packages.json'), 'utf8')) as HostPackage[]
  return await Promise.all(
    packages.map(async (one) => {
      const path = one.program ? await findProgram(one.program) : await readable(one.file!)
      const name = one.program ?? one.package
      if (!path) return {name, state: 'missing' as const, detail: one.why, package: one.package}
      return {name, state: 'there' as const, detail: (one.program && (await version(context, path))) || one.why}
    }),
  )
}

async function readable(path: string): Promise<string | undefined> {
  return await access(path).then(
    () => path,
    () => undefined,
  )
}

/** The line in which a program says its version; without the stars that zstd puts around its own. */
export async function version({signal}: Pick<Context, 'signal'>, path: string): Promise<string> {
  // ssh takes no long option, and complains of one.
  const {all} = await run(path, [basename(path) === 'ssh' ? '-V' : '--version'], {signal, allowedExits: 'any'})
  const line = all.split('\n').find((one) => one.trim() !== '') ?? ''
  return line.replace(/^[\s*]+|[\s*]+$/g, '')
}

async function kvm(): Promise<Finding> {
  const there = await readable('/dev/kvm')
  const detail = there
    ? '/dev/kvm is there; whether guests run under it is found out by a probe guest when one is needed'
    : 'no /dev/kvm: machines run under TCG, more slowly'
  return {name: 'KVM', state: 'note', detail}
}

/** Only cases about firewall4 need it, so a machine without it lacks nothing. */
async function ucode(context: Context, named?: string): Promise<Finding> {
  try {
    const {path} = await findUcode(context, named)
    return {name: 'ucode', state: 'there', detail: `${path} renders: cases of the tree firewall4 can run`}
  } catch (error) {
    if (!(error instanceof CouldNotRun)) throw error
    return {name: 'ucode', state: named === undefined ? 'note' : 'missing', detail: `${error.message}${error.detail ? ` (${error.detail.split('\n')[0]})` : ''}; only cases of the tree firewall4 need it`}
  }
}

async function room(context: Context): Promise<Finding> {
  await makeFolder(context.cache)
  const {bavail, bsize} = await statfs(context.cache)
  const free = Math.floor((bavail * bsize) / (1 << 20))
  const enough = free >= ROOM
  const detail = `${free} MiB free in ${context.cache}${enough ? '' : `; a first run wants ${ROOM}: set PATCHBENCH_CACHE to a larger disk`}`
  return {name: 'disk', state: enough ? 'there' : 'missing', detail}
}

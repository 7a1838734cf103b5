import {readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, download, NEWER_SUITE, openApt, type Package} from '../lib/apt.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {keyOf} from '../lib/hash.js'
import {findProgram, hostPath} from '../lib/hostpath.js'
import {remembered} from '../lib/memory.js'
import {run} from '../lib/process.js'
import {type Accelerator} from './qemu.js'

/** virtme-ng as it is called: its program, and what its environment needs. */
export type Vng = {program: string; env: Record<string, string>}

/** Plain Python, like virtme-ng itself: they run without being installed. */
const LIBRARIES = ['python3-argcomplete', 'python3-requests', 'python3-urllib3', 'python3-chardet', 'python3-idna', 'python3-certifi']

/** virtme-ng of the host where there is one, else of a newer suite of the machine's archive, unpacked and not installed. */
export async function findVng(context: Context): Promise<Vng> {
  const program = await findProgram('vng')
  if (program) return {program, env: {}}
  const {virtme, libraries} = await remembered(context, join('virtme-ng', 'newest'), false, async () => await choose(context))
  const inputs = {virtme, libraries}
  const {directory} = await artefact(context, 'virtme-ng', keyOf(inputs), inputs, async (into) => {
    await unpack(context, [virtme], into, NEWER_SUITE)
    await unpack(context, libraries, into)
  })
  const programs = join(directory, 'usr/bin')
  const env = {
    PYTHONPATH: join(directory, 'usr/lib/python3/dist-packages'),
    PYTHONDONTWRITEBYTECODE: '1', // the folder is sealed
    PATH: `${programs}:${hostPath()}`, // vng calls virtme-run by name
  }
  return {program: join(programs, 'vng'), env}
}

async function choose(context: Context): Promise<{virtme: Package; libraries: Package[]}> {
  const [virtme] = await describe(context, await openApt(context, {suite: NEWER_SUITE}), ['virtme-ng'])
  return {virtme: virtme!, libraries: await describe(context, await openApt(context), LIBRARIES)}
}

async function unpack(context: Context, packages: readonly Package[], into: string, suite?: string): Promise<void> {
  const apt = await openApt(context, suite === undefined ? {} : {suite})
  await download(context, apt, packages, into)
  for (const file of (await readdir(into)).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['--extract', join(into, file), into], {signal: context.signal})
    await rm(join(into, file))
  }
}

/** The arguments that boot an image with the host's files read-only under it. */
export function vngArguments(vmlinuz: string, accelerator: Accelerator): string[] {
  return ['--run', vmlinuz, ...(accelerator === 'kvm' ? [] : ['--disable-kvm'])]
}

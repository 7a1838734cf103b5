import {readFile, rename, rm, stat, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {openApt} from '../lib/apt.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {keyOf, sha256File} from '../lib/hash.js'
import {readListFile} from '../lib/listfile.js'
import {run} from '../lib/process.js'
import {projectPath} from '../lib/project.js'

/** The guest's userland as an uncompressed newc archive, which boots faster than a compressed one under TCG. */
export type GuestRoot = {cpio: string; /** SHA-256 of the archive. */ id: string; /** Package files and their checksums. */ packages: string}

/**
 * The root of Debian packages that vm/packages names, and a case's own on top:
 * extracted by mmdebstrap as an ordinary user, without maintainer scripts.
 */
export async function guestRoot(context: Context, extraPackages: readonly string[]): Promise<GuestRoot> {
  return await rootOf(context, [...(await readListFile(projectPath('vm/packages'))), ...extraPackages])
}

/** The root of these Debian packages and what they need. */
export async function rootOf(context: Context, wanted: readonly string[]): Promise<GuestRoot> {
  const packages = [...new Set(wanted)].sort()
  const excludes = await readListFile(projectPath('vm/excludes'))
  const hooks = await Promise.all(['merged-usr', 'record-packages'].map(async (name) => await sha256File(projectPath('vm/root', name))))
  const inputs = {packages, excludes, hooks, steps: 1}
  const made = await artefact(context, 'root', keyOf(inputs), inputs, async (into) => {
    const tar = join(into, 'root.tar')
    await debootstrap(context, packages, tar)
    await finishRoot(context, tar, excludes, into)
    await rm(tar)
  })
  return describeRoot(made)
}

/** A root from a tar archive that the user made elsewhere, for hosts without mmdebstrap. */
export async function rootFromTar(context: Context, tar: string): Promise<GuestRoot> {
  if (!(await stat(tar).catch(() => undefined))) throw new InputError(`--root: ${tar} does not exist`)
  const excludes = await readListFile(projectPath('vm/excludes'))
  const inputs = {tar: await sha256File(tar), excludes, steps: 1}
  const made = await artefact(context, 'root', keyOf(inputs), inputs, async (into) => {
    await finishRoot(context, tar, excludes, into).catch((error: unknown) => {
      throw error instanceof CouldNotRun ? new InputError(`--root: ${tar} is no tar archive that bsdtar can read`) : error
    })
  })
  return describeRoot(made)
}

async function describeRoot({directory, files}: {directory: string; files: Record<string, string>}): Promise<GuestRoot> {
  const packages = await readFile(join(directory, 'packages.sha256'), 'utf8')
  return {cpio: join(directory, 'root.cpio'), id: files['root.cpio']!, packages}
}

async function debootstrap(context: Context, packages: readonly string[], tar: string): Promise<void> {
  const apt = await openApt(context)
  context.progress(`extracting ${packages.length} packages and what they need into the guest's root`)
  const options = [
    '--variant=extract',
    '--mode=chrootless',
    '--format=tar',
    '--aptopt=APT::Sandbox::User "root"',
    `--setup-hook=${projectPath('vm/root/merged-usr')}`,
    `--extract-hook=${projectPath('vm/root/record-packages')}`,
    `--include=${packages.join(',')}`,
  ]
  try {
    // A date that does not move makes the same packages the same archive.
    await run('mmdebstrap', [...options, apt.suite, tar, apt.sources], {signal: context.signal, env: {SOURCE_DATE_EPOCH: '0'}})
  } catch (error) {
    const unknown = error instanceof CouldNotRun && /^E: Unable to locate package (\S+)/m.exec(error.detail)?.[1]
    if (unknown) throw new InputError(`${apt.suite} has no package '${unknown}': look at reproducer.packages in case.yaml`)
    throw error
  }
}

async function finishRoot(context: Context, tar: string, excludes: readonly string[], into: string): Promise<void> {
  const unfinished = join(into, 'root.cpio.new')
  const options = excludes.flatMap((pattern) => ['--exclude', pattern])
  await run('bsdtar', ['-cf', unfinished, '--format=newc', ...options, `@${tar}`], {signal: context.signal})
  await rename(unfinished, join(into, 'root.cpio'))
  const {stdout} = await run('bsdtar', ['-xOf', tar, './packages.sha256'], {signal: context.signal, allowedExits: [0, 1]})
  await writeFile(join(into, 'packages.sha256'), stdout)
}

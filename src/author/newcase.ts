import {chmod, lstat, mkdir, rename, rm, writeFile} from 'node:fs/promises'
import {dirname, join, relative, resolve} from 'node:path'
import {ownCases, SETTINGS} from '../case/folder.js'
import {InputError} from '../lib/errors.js'
import {makeFolder, makeUnfinished} from '../lib/files.js'
import {projectPath, projectRoot} from '../lib/project.js'
import {type NewFile} from './casefiles.js'

/** Where a new case goes, and the patchbench.yaml that has to be made for it to be found there. */
export type Home = {cases: string; settings?: string}

/**
 * The folder that a new case goes to: the one that is named, that of a
 * patchbench.yaml, patches/ within the project, else the working folder, which
 * gets a patchbench.yaml.
 */
export async function homeOfNewCase(named: string | undefined, from = process.cwd()): Promise<Home> {
  if (named !== undefined) return {cases: resolve(named)}
  const own = await ownCases(from)
  if (own !== undefined) return {cases: own}
  if (!relative(projectRoot, from).startsWith('..')) return {cases: projectPath('patches')}
  return {cases: from, settings: join(from, SETTINGS)}
}

/**
 * A name that a case may have.
 *
 * @param option what names it otherwise, where there is such an option
 * @throws InputError when it is none, or something is there already
 */
export async function checkNewName({cases}: Home, name: string, option?: string): Promise<void> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) throw new InputError(`'${name}' is no name for a case: take small letters, digits and hyphens`)
  if (await lstat(join(cases, name)).catch(() => undefined)) throw taken(join(cases, name), option)
}

function taken(folder: string, option: string | undefined): InputError {
  return new InputError(`${folder} is there already, and nothing is overwritten: take another name${option === undefined ? '' : ` by ${option}`}, or remove it`)
}

/** Writes a new case, all of it or nothing; its folder. */
export async function writeCase({cases, settings}: Home, name: string, files: Readonly<Record<string, NewFile>>): Promise<string> {
  const folder = join(cases, name)
  await makeFolder(cases)
  const partial = await makeUnfinished(join(cases, `.${name}-`), folder)
  try {
    for (const [path, {content, executable}] of Object.entries(files)) {
      const file = join(partial, path)
      await mkdir(dirname(file), {recursive: true})
      await writeFile(file, content, {mode: executable ? 0o777 : 0o666})
    }
    // mkdtemp's folder is for its owner alone.
    await chmod(partial, 0o777 & ~process.umask())
    await checkNewName({cases}, name)
    await rename(partial, folder)
  } finally {
    await rm(partial, {recursive: true, force: true})
  }
  // Somebody else may just have made one.
  if (settings) await writeFile(settings, '# The cases of patchbench in this folder.\ncases: .\n', {flag: 'wx'}).catch(() => {})
  return folder
}

/** `a-name-of-this-kind` of any text, not longer than it has to be. */
export function slug(text: string): string {
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '')
  return plain.length <= 48 ? plain : plain.slice(0, 48).replace(/-[^-]*$/, '')
}

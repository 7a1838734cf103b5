import {readFile, stat} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {z} from 'zod'
import {projectPath} from '../lib/project.js'
import {parseSettings} from '../lib/yaml.js'

/** The file that makes a folder the home of cases of one's own, for itself and the folders below. */
export const SETTINGS = 'patchbench.yaml'

const settingsSchema = z.strictObject({
  /** The folder of cases, relative to the file. */
  cases: z.string().min(1, 'expected a folder').default('.'),
})

/**
 * The folder of cases where none is named: that of the nearest patchbench.yaml
 * at or above the working folder, else patches/ of the project.
 *
 * @throws InputError when a patchbench.yaml says something else than it may
 */
export async function casesFolder(from = process.cwd()): Promise<string> {
  return (await ownCases(from)) ?? projectPath('patches')
}

/** The folder of cases that a patchbench.yaml at or above a folder names; undefined where there is none. */
export async function ownCases(from: string): Promise<string | undefined> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const file = join(folder, SETTINGS)
    if ((await stat(file).catch(() => undefined))?.isFile()) return resolve(folder, parseSettings(await readFile(file, 'utf8'), file, settingsSchema, "it may say 'cases: FOLDER'").cases)
    if (dirname(folder) === folder) return undefined
  }
}

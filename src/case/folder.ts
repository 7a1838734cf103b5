import {readFile, stat} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {parseDocument} from 'yaml'
import {z} from 'zod'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'

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
    if ((await stat(file).catch(() => undefined))?.isFile()) return resolve(folder, parseSettings(await readFile(file, 'utf8'), file).cases)
    if (dirname(folder) === folder) return undefined
  }
}

function parseSettings(text: string, file: string): z.infer<typeof settingsSchema> {
  const document = parseDocument(text)
  const [error] = document.errors
  if (error) throw new InputError(`${file}: ${error.message.split('\n')[0]}`)
  const result = settingsSchema.safeParse(document.toJS() ?? {})
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new InputError(`${file}: ${issue!.path.join('.') || 'the file'}: ${issue!.message}; it may say 'cases: FOLDER'`)
}

import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'

/** The folder that holds package.json, patches/, livepatch/ and vm/. */
export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** A file or folder of the project. */
export function projectPath(...parts: string[]): string {
  return join(projectRoot, ...parts)
}

import {readFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'

/** The folder that holds package.json, patches/, livepatch/ and vm/. */
export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** A file or folder of the project. */
export function projectPath(...parts: string[]): string {
  return join(projectRoot, ...parts)
}

/** The project's version, as package.json has it. */
export function projectVersion(): string {
  return (JSON.parse(readFileSync(projectPath('package.json'), 'utf8')) as {version: string}).version
}

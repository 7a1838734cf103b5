import {mkdir, stat} from 'node:fs/promises'
import {dirname} from 'node:path'

/**
 * Makes a folder and those above it, one by one: Node's own recursive mkdir
 * never returns where a file system refuses new folders with ENOENT (/proc).
 */
export async function makeFolder(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory()) return
  if (dirname(path) !== path) await makeFolder(dirname(path))
  await mkdir(path).catch(async (error: unknown) => {
    // Somebody else may have been faster.
    if (!(await stat(path).catch(() => undefined))?.isDirectory()) throw error
  })
}

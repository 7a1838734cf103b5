import {mkdir, mkdtemp, stat} from 'node:fs/promises'
import {dirname} from 'node:path'
import {systemCode} from './errors.js'

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

/**
 * A new folder of its own for what is not finished yet.
 *
 * @param prefix where it is made, and how its name begins
 * @param named what the user named, which the error of a failed system call is about
 */
export async function makeUnfinished(prefix: string, named: string): Promise<string> {
  try {
    return await mkdtemp(prefix)
  } catch (error) {
    // A file system that takes no new folders says ENOENT of one that is there (/proc).
    const isThere = (await stat(dirname(prefix)).catch(() => undefined))?.isDirectory()
    const code = systemCode(error) === 'ENOENT' && isThere ? {code: 'EPERM'} : {}
    throw Object.assign(error as NodeJS.ErrnoException, {path: named, syscall: 'mkdir', ...code})
  }
}

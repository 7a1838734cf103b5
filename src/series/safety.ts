import {InputError} from '../lib/errors.js'
import {type FilePatch} from './diff.js'

export const LINK = '120000'
export const SUBMODULE = '160000'

/**
 * Refuses what can be told to be unsafe from the patch alone.
 *
 * @throws InputError that names the mail and the path
 */
export function checkFile(file: FilePatch, where: string): void {
  for (const path of new Set([file.oldPath, file.path])) checkPath(path, where)
  if (file.binary) throw new InputError(`${where}: ${file.path} is changed by a binary patch, which nobody can review: send text`)
  if (file.oldMode === SUBMODULE || file.newMode === SUBMODULE || file.path === '.gitmodules' || file.oldPath === '.gitmodules') {
    throw new InputError(`${where}: ${file.path} changes a submodule, which is a matter of another tree: leave it out`)
  }
}

function checkPath(path: string, where: string): void {
  if (path.startsWith('/')) throw new InputError(`${where}: ${path} lies outside the tree, it is an absolute path: make the patch with 'git format-patch'`)
  const parts = path.split('/')
  if (parts.includes('..')) throw new InputError(`${where}: ${path} leads outside the tree by '..': make the patch with 'git format-patch'`)
  if (parts.some(isGitFolder)) throw new InputError(`${where}: ${path} lies in .git, where hooks and settings are: a patch has no business there`)
  if (path.includes('\0') || parts.includes('') || parts.includes('.')) {
    throw new InputError(`${where}: '${path}' is no file name that git takes: make the patch with 'git format-patch'`)
  }
}

/** .git, and what HFS+ and NTFS take for it. */
export function isGitFolder(part: string): boolean {
  const plain = part.replace(/[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g, '')
  return /^(?:\.git|git~\d+)(?:[ .]*|:.*)$/i.test(plain)
}

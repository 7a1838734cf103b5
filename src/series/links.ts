import {posix} from 'node:path'
import {InputError} from '../lib/errors.js'
import {type FilePatch} from './diff.js'
import {isGitFolder, LINK, SUBMODULE} from './safety.js'

/** The folders that a path goes through: `a`, `a/b` for `a/b/c`. */
export function foldersOf(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

/**
 * Refuses files behind symbolic links, links that lead out of the tree, and
 * submodules, over a whole series: a link may come with the tree or be made by
 * an earlier patch.
 *
 * @param modes the modes that the tree has for the paths of the series and the folders that they go through
 * @throws InputError that names the mail and the path
 */
export function checkLinks(patches: readonly {where: string; files: readonly FilePatch[]}[], modes: ReadonlyMap<string, string>): void {
  const now = new Map(modes)
  for (const {where, files} of patches) {
    for (const {kind, oldPath} of files) if (kind === 'delete' || kind === 'rename') now.delete(oldPath)
    for (const file of files) {
      const mode = file.newMode ?? (file.kind === 'modify' ? now.get(file.path) : modes.get(file.oldPath))
      if (file.kind !== 'delete' && mode !== undefined) now.set(file.path, mode)
    }
    for (const file of files) checkFile(file, where, modes, now)
  }
}

function checkFile(file: FilePatch, where: string, before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): void {
  for (const path of new Set([file.oldPath, file.path])) {
    const through = foldersOf(path).find((folder) => now.get(folder) === LINK)
    if (through) {
      const whose = before.get(through) === LINK ? 'a symbolic link in the tree' : 'a symbolic link that the series itself makes'
      throw new InputError(`${where}: ${path} lies behind ${through}, ${whose}: name the file where it really is`)
    }
    const submodule = [...foldersOf(path), path].find((folder) => now.get(folder) === SUBMODULE)
    if (submodule) throw new InputError(`${where}: ${path} changes the submodule ${submodule}, which is a matter of another tree: leave it out`)
  }
  if (file.kind !== 'delete' && now.get(file.path) === LINK) checkTarget(file, where)
}

/**
 * A target may climb first and descend then, not climb again: behind another
 * link, `..` is not where it seems to be.
 */
function checkTarget({path, hunks}: FilePatch, where: string): void {
  const target = hunks.flatMap(({lines}) => lines).filter((line) => /^[+ ]/.test(line)).map((line) => line.slice(1)).join('\n')
  const parts = target.split('/').filter((part) => part !== '' && part !== '.')
  const descends = parts.findIndex((part) => part !== '..')
  const climbsAgain = descends !== -1 && parts.slice(descends).includes('..')
  const lands = posix.normalize(posix.join(posix.dirname(path), target))
  if (target.startsWith('/') || lands === '..' || lands.startsWith('../') || climbsAgain) {
    throw new InputError(`${where}: ${path} would be a symbolic link that points outside the tree, to ${target}: links may only point to what is in it`)
  }
  if (parts.some(isGitFolder)) throw new InputError(`${where}: ${path} would be a symbolic link into .git (${target}): a patch has no business there`)
}

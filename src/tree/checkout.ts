import {mkdir, rm, writeFile} from 'node:fs/promises'
import {join, resolve} from 'node:path'
import {git} from '../lib/git.js'
import {NEUTRAL} from './worktree.js'

/** An info/attributes that overrides every .gitattributes: no conversion, no filter. */
export const AS_IT_IS = '* -text !ident !filter !working-tree-encoding\n'

/**
 * Writes every file of a commit into an empty folder, byte by byte as git has
 * it, and nothing else: a repository of our own stands there meanwhile and
 * borrows the objects, so neither index, settings, hooks nor filters of the
 * repository have a part in it.
 *
 * @param paths only these, in a folder that may hold others; a file that is there is replaced, not written to
 */
export async function checkOut(signal: AbortSignal, directory: string, commit: string, into: string, paths?: readonly string[]): Promise<void> {
  const {stdout} = await git(directory, ['rev-parse', '--git-path', 'objects', '--verify', `${commit}^{tree}`], {signal})
  const [objects = '', tree = ''] = stdout.split('\n')
  const format = tree.length === 64 ? 'sha256' : 'sha1'
  await git(into, ['init', '--quiet', '--template=', `--object-format=${format}`, '.'], {signal})
  // No commit can have a file of this name.
  const own = join(into, '.git')
  for (const folder of ['info', 'objects/info']) await mkdir(join(own, folder), {recursive: true})
  await writeFile(join(own, 'info/attributes'), AS_IT_IS)
  await writeFile(join(own, 'objects/info/alternates'), `${resolve(directory, objects)}\n`)
  await git(into, ['read-tree', tree], {signal}, [...NEUTRAL, 'core.sparseCheckout=false'])
  const settings = [...NEUTRAL, 'core.sparseCheckout=false']
  if (!paths) await git(into, ['checkout-index', '--all', '--quiet'], {signal}, settings)
  else await git(into, ['checkout-index', '--force', '--quiet', '-z', '--stdin'], {signal, input: paths.map((path) => `${path}\0`).join('')}, settings)
  await rm(own, {recursive: true})
}

import {mkdir, readdir} from 'node:fs/promises'
import {basename, join, resolve} from 'node:path'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {sha256File} from '../lib/hash.js'
import {run} from '../lib/process.js'
import {type Pristine, pristine} from './pristine.js'

/**
 * The tree in a tarball, without the single folder that most have around it.
 *
 * @throws InputError when it is none that tar can read
 */
export async function tarballSource(context: Context, path: string): Promise<Pristine & {sha256: string}> {
  if (!/\.(?:tar|tar\.(?:xz|gz|zst)|tgz)$/.test(path)) {
    throw new InputError(`--source ${path} is a file, and no .tar, .tar.xz, .tar.gz or .tar.zst: name a kernel line, a git folder, a URL or a tarball`)
  }
  const sha256 = await sha256File(path)
  const made = await pristine(context, {tarball: sha256}, `tarball sha256:${sha256}`, async (into) => {
    context.progress(`unpacking ${basename(path)}`)
    return await unpackTarball(context.signal, path, into).catch((error: unknown) => {
      if (!(error instanceof CouldNotRun) || error.message.includes('disk full')) throw error
      throw new InputError(`--source ${path} is no tarball that tar can read (${error.detail.split('\n')[0]})`)
    })
  })
  return {...made, sha256}
}

/** Unpacks a tarball into a folder of its own below a folder; where its tree is then. */
export async function unpackTarball(signal: AbortSignal, path: string, into: string): Promise<string> {
  const folder = join(into, 'tarball')
  await mkdir(folder)
  // Owners and modes would be those of whoever packed it. The path is absolute: a name with a colon would be another machine's.
  const options = ['--no-same-owner', '--no-same-permissions', '--directory', folder]
  await run('tar', ['--extract', ...options, '--file', resolve(path)], {signal})
  const [first, ...others] = await readdir(folder, {withFileTypes: true})
  return first?.isDirectory() && others.length === 0 ? join(folder, first.name) : folder
}

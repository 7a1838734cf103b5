import {mkdir, rename, rm, writeFile} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {git} from '../lib/git.js'
import {keyOf} from '../lib/hash.js'
import {withLock} from '../lib/lock.js'
import {AS_IT_IS} from './checkout.js'
import {NEUTRAL} from './worktree.js'

/** What the recipe below makes: a new number where the same inputs would give something else. */
const STEPS = 1

const BRANCH = 'refs/heads/pristine'

const WHO = {
  ...{GIT_AUTHOR_NAME: 'patchbench', GIT_AUTHOR_EMAIL: 'patchbench@localhost', GIT_AUTHOR_DATE: '@0 +0000'},
  ...{GIT_COMMITTER_NAME: 'patchbench', GIT_COMMITTER_EMAIL: 'patchbench@localhost', GIT_COMMITTER_DATE: '@0 +0000'},
}

/**
 * Each file a stream into one pack: a kernel has eighty thousand, which as
 * loose objects would be as many inodes. Little compression is half the time
 * and a tenth more of the disk.
 */
const ONE_PACK = ['core.bigFileThreshold=1', 'core.compression=1', 'pack.compression=1']

export type Pristine = {directory: string; commit: string}

/**
 * Files that came without a history, as the only commit of a repository. Who,
 * when and why are fixed, so the same files are the same commit everywhere.
 *
 * @param inputs all that can change the files
 * @param message of the commit
 * @param unpack writes the files below the folder that it is given, and says where they are
 */
export async function pristine(
  context: Context,
  inputs: unknown,
  message: string,
  unpack: (folder: string) => Promise<string>,
): Promise<Pristine> {
  const all = {inputs, message, steps: STEPS}
  const key = keyOf(all)
  const {directory} = await artefact(context, 'source', key, all, async (into) => {
    const folder = join(into, 'files')
    await mkdir(folder)
    const top = await unpack(folder)
    context.progress('making a git repository of the files')
    await commitAll(context.signal, join(into, 'pristine.git'), top, message)
    await rm(folder, {recursive: true})
  })
  return await workingRepository(context, key, join(directory, 'pristine.git'))
}

async function commitAll(signal: AbortSignal, repository: string, top: string, message: string): Promise<void> {
  await initialise(signal, repository)
  const own = [`--git-dir=${repository}`, `--work-tree=${top}`]
  await git(top, [...own, 'add', '--force', '--all', '.'], {signal}, [...NEUTRAL, 'core.sparseCheckout=false', ...ONE_PACK])
  const {stdout: tree} = await git(repository, ['write-tree'], {signal})
  const {stdout: commit} = await git(repository, ['commit-tree', tree, '-m', message], {signal, env: WHO}, NEUTRAL)
  await git(repository, ['update-ref', BRANCH, commit], {signal})
  await rm(join(repository, 'index'))
  // The folders are loose still: this packs them and leaves the pack of files alone.
  await git(repository, ['repack', '-d', '-q'], {signal}, ONE_PACK)
}

/**
 * The repository that git may write into: it borrows the pristine one's
 * objects, which nothing is ever added to.
 */
async function workingRepository(context: Context, key: string, source: string): Promise<Pristine> {
  const {signal} = context
  const {stdout: commit} = await git(source, ['rev-parse', '--verify', BRANCH], {signal})
  const directory = join(context.cache, 'repositories', `${key}.git`)
  if (!(await has(signal, directory, commit))) {
    await withLock(`${directory}.lock`, signal, async () => {
      if (!(await has(signal, directory, commit))) await borrow(signal, directory, source, commit)
    })
  }
  return {directory, commit}
}

/** Whether the branch is where it was made, and its objects can be read. */
async function has(signal: AbortSignal, directory: string, commit: string): Promise<boolean> {
  const words = [`--git-dir=${directory}`, 'rev-parse', BRANCH, `${BRANCH}^{tree}`]
  const {stdout, exitCode} = await git('/', words, {signal, allowedExits: [0, 128]})
  return exitCode === 0 && stdout.split('\n')[0] === commit
}

async function borrow(signal: AbortSignal, directory: string, source: string, commit: string): Promise<void> {
  const partial = `${directory}.partial`
  for (const leftover of [partial, directory]) await rm(leftover, {recursive: true, force: true})
  await initialise(signal, partial)
  // Relative, as git takes it from objects/: a cache may be moved.
  await writeFile(join(partial, 'objects/info/alternates'), `${relative(join(partial, 'objects'), join(source, 'objects'))}\n`)
  await git(partial, ['update-ref', BRANCH, commit], {signal})
  await rename(partial, directory)
}

/** A bare repository in which nothing is done to the bytes of a file. */
export async function initialise(signal: AbortSignal, repository: string): Promise<void> {
  await mkdir(join(repository, 'info'), {recursive: true})
  await git(repository, ['init', '--quiet', '--bare', '--template=', '.'], {signal})
  await git(repository, ['symbolic-ref', 'HEAD', BRANCH], {signal})
  await mkdir(join(repository, 'objects/info'), {recursive: true})
  await writeFile(join(repository, 'info/attributes'), AS_IT_IS)
}

import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {type Mail} from '../series/mails.js'
import {entriesOf, openTree} from '../tree/tree.js'
import {withWorktree} from '../tree/worktree.js'
import {type History} from './fixes.js'

/** What checkpatch.pl and get_maintainer.pl take for a kernel tree, and read of it. */
const TREE = [
  ...['COPYING', 'CREDITS', 'Kbuild', 'MAINTAINERS', 'Makefile', 'README', '.get_maintainer.ignore'],
  ...['Documentation/process', 'Documentation/devicetree/bindings/vendor-prefixes.yaml', 'arch/Kconfig'],
  ...['drivers/Makefile', 'fs/Makefile', 'init/Makefile', 'ipc/Makefile', 'kernel/Makefile', 'lib/Makefile'],
  ...['include', 'scripts', 'LICENSES'],
]

/** A tree's own scripts, in a worktree of its base: what a series makes of them is not run. */
export type Scripts = {
  folder: string
  /** Which of them the tree has. */
  has: (path: string) => boolean
  /** The series' mails as files, in order. */
  mails: string[]
  /** Without the user's own .checkpatch.conf and the like, so that everybody gets the same answer. */
  env: Record<string, string>
}

const SCRIPTS = ['scripts/checkpatch.pl', 'scripts/get_maintainer.pl']

/** Gives work the scripts of a tree, and mails to run them on. */
export async function withScripts<T>(context: Context, base: History, mails: readonly Mail[], work: (scripts: Scripts) => Promise<T>): Promise<T> {
  const {signal} = context
  const tree = await openTree(signal, base.directory)
  const there = await entriesOf(signal, base.directory, base.commit, SCRIPTS)
  const home = await mkdtemp(join(tmpdir(), 'patchbench-scripts-'))
  try {
    const files = await Promise.all(mails.map(async (mail, index) => await writeMail(home, mail, index)))
    return await withWorktree(context, tree, base.commit, TREE, async (folder) => {
      return await work({folder, has: (path) => there.has(path), mails: files, env: {HOME: home}})
    })
  } finally {
    await rm(home, {recursive: true, force: true})
  }
}

/** The mail decoded, as git read it: the scripts know nothing of base64. */
async function writeMail(folder: string, {author, subject, body, diff}: Mail, index: number): Promise<string> {
  const file = join(folder, `${String(index + 1).padStart(4, '0')}.patch`)
  const ended = body === '' || body.endsWith('\n') ? body : `${body}\n`
  await writeFile(file, `From: ${author}\nSubject: ${subject}\n\n${ended}${diff.startsWith('---\n') ? '' : '---\n'}${diff}`)
  return file
}

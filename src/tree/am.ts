import {CouldNotRun} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {type Mail} from '../series/mails.js'
import {type Tree} from './tree.js'
import {NEUTRAL} from './worktree.js'

/** What `git am` made of a mail; its own words where it refused. */
export type Amended = {state: 'applied' | 'already-applied'; commit: string} | {state: 'conflict'; words: string[]}

/** Who commits: nobody in particular, so that the same series on the same base is the same commit everywhere. */
export const NOBODY = {GIT_COMMITTER_NAME: 'patchbench', GIT_COMMITTER_EMAIL: 'patchbench@localhost'}

/** The user as committer, where git knows who that is. */
export async function ownIdentity(signal: AbortSignal, tree: Tree): Promise<Record<string, string>> {
  const {exitCode} = await git(tree.directory, ['var', 'GIT_COMMITTER_IDENT'], {signal, allowedExits: [0, 128]}, ['user.useConfigOnly=true'])
  return exitCode === 0 ? {} : NOBODY
}

/** Applies a mail in a worktree with a three-way merge. */
export async function amend(signal: AbortSignal, folder: string, mail: Mail, identity: Record<string, string>): Promise<Amended> {
  const before = await headOf(signal, folder)
  const cr = mail.encodedCr ? 'strip' : 'nowarn'
  const words = ['am', '--3way', '--keep-cr', `--quoted-cr=${cr}`]
  const dates = identity === NOBODY ? ['--committer-date-is-author-date'] : []
  const {exitCode, all} = await git(folder, [...words, ...dates], {signal, input: mail.raw, env: identity, allowedExits: [0, 1, 128]}, NEUTRAL)
  if (all.includes('No space left on device')) throw new CouldNotRun('git am found the disk full: free some space', all)
  if (exitCode !== 0) return {state: 'conflict', words: all.split('\n').filter((line) => /^(?:error|fatal|CONFLICT)\b/.test(line))}
  const commit = await headOf(signal, folder)
  return {state: commit === before ? 'already-applied' : 'applied', commit}
}

async function headOf(signal: AbortSignal, folder: string): Promise<string> {
  return (await git(folder, ['rev-parse', '--verify', 'HEAD'], {signal})).stdout.trim()
}

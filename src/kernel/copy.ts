import {mkdir, readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {git} from '../lib/git.js'
import {run} from '../lib/process.js'
import {checkOut} from '../tree/checkout.js'

/**
 * Copies a built tree so that make finds nothing to do in the copy: times are
 * kept, and all paths in it are relative. Sources are hard links, which git
 * replaces and never writes through; objects, which make may write through, are copies.
 */
export async function copyBuild(signal: AbortSignal, from: string, to: string): Promise<void> {
  await mkdir(to)
  const sources = (await readdir(from)).filter((name) => name !== 'build')
  await run('cp', ['-a', '--link', '--target-directory', to, ...sources.map((name) => join(from, name))], {signal})
  await run('cp', ['-a', '--reflink=auto', join(from, 'build'), to], {signal})
}

/** Brings a tree from one commit of a repository to another; files that do not differ are not touched. */
export async function checkOutOver(signal: AbortSignal, directory: string, from: string, to: string, tree: string): Promise<void> {
  const changes = await changesBetween(signal, directory, from, to)
  for (const {status, path} of changes) if (status === 'D') await rm(join(tree, path))
  await checkOut(signal, directory, to, tree, changes.flatMap(({status, path}) => (status === 'D' ? [] : [path])))
}

/** The paths that differ between two commits. */
export async function changedPaths(signal: AbortSignal, directory: string, from: string, to: string): Promise<string[]> {
  return (await changesBetween(signal, directory, from, to)).map(({path}) => path)
}

async function changesBetween(signal: AbortSignal, directory: string, from: string, to: string): Promise<{status: string; path: string}[]> {
  const {stdout} = await git(directory, ['diff-tree', '-r', '-z', '--no-renames', '--name-status', from, to], {signal})
  // STATUS PATH, again and again.
  const words = stdout.split('\0')
  return words.flatMap((path, index) => (index % 2 === 1 ? [{status: words[index - 1]!, path}] : []))
}

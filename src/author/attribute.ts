import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {type FilePatch, type Hunk, parseDiff} from '../series/diff.js'

/** A commit of the series. */
export type Commit = {hash: string; subject: string}

/** A change that is not in the series yet, and the patch that it belongs to. */
export type Change = {path: string; /** The line in the series as it is; 0 of a file as a whole. */ line: number; hunk?: Hunk; patch: Commit}

/** The commits between base and tip, the oldest first. */
export async function commitsBetween(signal: AbortSignal, folder: string, base: string, tip: string): Promise<Commit[]> {
  const {stdout} = await git(folder, ['log', '--reverse', '--format=%H %s', `${base}..${tip}`], {signal})
  return stdout.split('\n').filter(Boolean).map((line) => ({hash: line.slice(0, line.indexOf(' ')), subject: line.slice(line.indexOf(' ') + 1)}))
}

/**
 * The patch of a name: its number in the series, or a part of its subject.
 *
 * @throws InputError when it is none of them, or several
 */
export function patchOf(commits: readonly Commit[], wanted: string): Commit {
  const found = /^\d+$/.test(wanted) ? commits.slice(Number(wanted) - 1, Number(wanted)) : commits.filter(({subject}) => subject.includes(wanted))
  if (found.length === 1) return found[0]!
  const there = commits.map(({subject}, index) => `${index + 1} '${subject}'`).join(', ')
  throw new InputError(`--patch ${wanted} is ${found.length === 0 ? 'none' : 'more than one'} of the patches: ${there}`)
}

/** The files that differ between two trees, without lines of context. */
export async function changesBetween(signal: AbortSignal, folder: string, from: string, to: string): Promise<FilePatch[]> {
  const words = ['diff-tree', '-r', '-p', '--unified=0', '--no-renames', '--no-ext-diff', '--no-textconv', '--src-prefix=a/', '--dst-prefix=b/', from, to]
  const {stdout} = await git(folder, words, {signal}, ['diff.noprefix=false', 'diff.mnemonicPrefix=false', 'core.quotePath=true'])
  return parseDiff(`${stdout}\n`, 'the work that is not in the series yet')
}

/**
 * The patch that each change belongs to: the one that wrote the lines which it
 * changes, or stands between; else the last one of those that change its file;
 * else the only one that there is.
 *
 * @throws InputError when no patch has to do with a change
 */
export async function attribute(signal: AbortSignal, folder: string, commits: readonly Commit[], {base, tip}: {base: string; tip: string}, files: readonly FilePatch[]): Promise<Change[]> {
  const changes: Change[] = []
  for (const {path, kind, hunks} of files) {
    const fallback = await lastToTouch(signal, folder, commits, {base, tip}, path)
    if (kind === 'create' || hunks.length === 0) {
      changes.push({path, line: 0, patch: belongs(fallback, path, 0)})
      continue
    }
    for (const hunk of hunks) {
      const writers = await writersOf(signal, folder, {base, tip}, path, hunk)
      const patch = commits.findLast(({hash}) => writers.has(hash)) ?? fallback
      changes.push({path, line: hunk.oldStart, hunk, patch: belongs(patch, path, hunk.oldStart)})
    }
  }
  return changes
}

function belongs(patch: Commit | undefined, path: string, line: number): Commit {
  if (patch) return patch
  throw new InputError(`${path}${line > 0 ? `:${line}` : ''}: no patch of the series has to do with what is changed there: name the one that it belongs to by --patch, or commit it as one of its own in the worktree`)
}

async function lastToTouch(signal: AbortSignal, folder: string, commits: readonly Commit[], {base, tip}: {base: string; tip: string}, path: string): Promise<Commit | undefined> {
  if (commits.length === 1) return commits[0]
  const {stdout} = await git(folder, ['rev-list', `${base}..${tip}`, '--', path], {signal})
  const touching = new Set(stdout.split('\n'))
  return commits.findLast(({hash}) => touching.has(hash))
}

/** The commits that wrote the lines which a hunk replaces; of one that only adds, those around it. */
async function writersOf(signal: AbortSignal, folder: string, {base, tip}: {base: string; tip: string}, path: string, {oldStart, oldLines}: Hunk): Promise<Set<string>> {
  const [from, to] = oldLines > 0 ? [oldStart, oldStart + oldLines - 1] : [Math.max(1, oldStart - 1), oldStart]
  const writers = new Set<string>()
  for (const last of [to, from]) {
    const words = ['blame', '--porcelain', '-L', `${from},${last}`, `${base}..${tip}`, '--', path]
    const {stdout, exitCode} = await git(folder, words, {signal, allowedExits: [0, 128]})
    // The line after the last one of a file is none.
    if (exitCode !== 0) continue
    for (const [, hash] of stdout.matchAll(/^([0-9a-f]{40,64}) \d+ \d+/gm)) writers.add(hash!)
    return writers
  }
  return writers
}

/** A text with some of the hunks of a diff without context. One that only adds comes before the line that it names. */
export function withHunks(text: string, hunks: readonly Hunk[]): string {
  const lines = text === '' ? [] : text.split(/(?<=\n)/)
  for (const {oldStart, oldLines, lines: changed} of [...hunks].sort((a, b) => b.oldStart - a.oldStart)) {
    lines.splice(oldStart - 1, oldLines, ...added(changed))
  }
  return lines.join('')
}

function added(lines: readonly string[]): string[] {
  return lines.flatMap((line, index) => {
    if (!line.startsWith('+')) return []
    return lines[index + 1]?.startsWith('\\') ? [line.slice(1)] : [`${line.slice(1)}\n`]
  })
}

import {type FilePatch} from '../series/diff.js'
import {type HunkReport, placeHunks} from '../series/place.js'
import {type Patience, renamedTo} from './renames.js'
import {entriesOf, readBlob} from './tree.js'

/** `exists`: the patch makes a file that is there already. */
export type FileState = 'exact' | 'offset' | 'already-applied' | 'conflict' | 'missing' | 'renamed' | 'exists'

export type FileReport = {path: string; state: FileState; renamedTo: string | null; hunks: HunkReport[]}

/** A commit, and what patches that git has not applied would make of it. Undefined text: no such file. */
export type Snapshot = {folder: string; commit: string; changes: Map<string, string | undefined>; patience: Patience}

/** Says how each file of a patch fits a snapshot, and leaves in it what fits. */
export async function explainPatch(signal: AbortSignal, snapshot: Snapshot, files: readonly FilePatch[]): Promise<FileReport[]> {
  const reports: FileReport[] = []
  for (const file of files) reports.push(await explainFile(signal, snapshot, file))
  return reports
}

async function explainFile(signal: AbortSignal, snapshot: Snapshot, file: FilePatch): Promise<FileReport> {
  if (file.kind === 'create') return await explainCreation(signal, snapshot, file)
  const text = await textOf(signal, snapshot, file.oldPath)
  if (text === undefined) return await explainMissing(signal, snapshot, file)
  const moves = file.kind === 'rename' || file.kind === 'copy'
  if (moves && (await textOf(signal, snapshot, file.path)) !== undefined) return report(file.path, 'exists')
  const placed = placeHunks(text, file.hunks)
  if (file.kind === 'rename' || file.kind === 'delete') snapshot.changes.set(file.oldPath, undefined)
  if (file.kind !== 'delete') snapshot.changes.set(file.path, placed.text)
  return report(file.kind === 'delete' ? file.oldPath : file.path, worst(placed.reports), placed.reports)
}

async function explainCreation(signal: AbortSignal, snapshot: Snapshot, file: FilePatch): Promise<FileReport> {
  const present = await textOf(signal, snapshot, file.path)
  const made = placeHunks('', file.hunks)
  if (present === undefined) {
    snapshot.changes.set(file.path, made.text)
    return report(file.path, worst(made.reports), made.reports)
  }
  const placed = placeHunks(present, file.hunks)
  return report(file.path, present === made.text ? 'already-applied' : 'exists', placed.reports)
}

async function explainMissing(signal: AbortSignal, snapshot: Snapshot, file: FilePatch): Promise<FileReport> {
  const now = await renamedTo(signal, snapshot.folder, snapshot.commit, file.oldPath, snapshot.patience)
  const text = now === undefined ? undefined : await textOf(signal, snapshot, now)
  if (now === undefined || text === undefined) return report(file.oldPath, 'missing')
  const placed = placeHunks(text, file.hunks)
  snapshot.changes.set(now, placed.text)
  return {...report(file.oldPath, 'renamed', placed.reports), renamedTo: now}
}

async function textOf(signal: AbortSignal, {folder, commit, changes}: Snapshot, path: string): Promise<string | undefined> {
  if (changes.has(path)) return changes.get(path)
  const entry = (await entriesOf(signal, folder, commit, [path])).get(path)
  return entry && entry.mode.startsWith('1') ? await readBlob(signal, folder, entry.oid) : undefined
}

function report(path: string, state: FileState, hunks: HunkReport[] = []): FileReport {
  return {path, state, renamedTo: null, hunks}
}

/** A file is as its worst hunk; it is applied already when all of them are. */
function worst(hunks: readonly HunkReport[]): FileState {
  const states = new Set(hunks.map(({state}) => state))
  if (states.has('conflict')) return 'conflict'
  if (states.has('already-applied')) return states.size === 1 ? 'already-applied' : 'conflict'
  return states.has('offset') ? 'offset' : 'exact'
}

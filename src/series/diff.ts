import {parsePatch, type StructuredPatchHunk} from 'diff'
import {InputError} from '../lib/errors.js'
import {namesOfHeader, unquote, withoutPrefix} from './names.js'

export type Hunk = StructuredPatchHunk

/** What a patch does to one file. */
export type FilePatch = {
  kind: 'modify' | 'create' | 'delete' | 'rename' | 'copy'
  /** The name that the file has after the patch, or had when the patch deletes it. */
  path: string
  /** The name before the patch; `path` where the patch creates it. */
  oldPath: string
  oldMode?: string
  newMode?: string
  binary: boolean
  hunks: Hunk[]
}

type Header = {names?: [string | undefined, string | undefined]; old?: string; new?: string; kind?: FilePatch['kind']; oldMode?: string; newMode?: string}

const HUNK = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/
const EXTENDED = /^(?:old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from|rename to|rename old|rename new|similarity index|dissimilarity index|index) /

/**
 * The files of a diff, in its order. Text around them (a mail's diffstat, its
 * signature) is passed over, as git does.
 *
 * @param where names the mail, for complaints
 */
export function parseDiff(diff: string, where: string): FilePatch[] {
  const lines = diff.split('\n')
  const files: FilePatch[] = []
  let at = 0
  while (at < lines.length) {
    if (!startsFile(lines, at)) {
      at += 1
      continue
    }
    const header = readHeader(lines, at)
    const body = readHunks(lines, header.next, where)
    files.push(filePatch(header.header, body, lines[at]!, where))
    at = body.next
  }
  return files
}

function startsFile(lines: readonly string[], at: number): boolean {
  if (lines[at]!.startsWith('diff --git ')) return true
  return lines[at]!.startsWith('--- ') && Boolean(lines[at + 1]?.startsWith('+++ ')) && HUNK.test(lines[at + 2] ?? '')
}

function readHeader(lines: readonly string[], start: number): {header: Header; next: number} {
  const header: Header = {}
  let at = start
  if (lines[at]!.startsWith('diff --git ')) {
    const names = namesOfHeader(lines[at]!)
    if (names) header.names = [withoutPrefix(names[0]), withoutPrefix(names[1])]
    at += 1
  }
  for (; at < lines.length && EXTENDED.test(lines[at]!); at += 1) extend(header, lines[at]!)
  if (lines[at]?.startsWith('--- ') && lines[at + 1]?.startsWith('+++ ')) {
    header.names = [fileName(lines[at]!), fileName(lines[at + 1]!)]
    at += 2
  }
  return {header, next: at}
}

/** A name of `--- ` or `+++ `, which ends at a tab. */
function fileName(line: string): string | undefined {
  return withoutPrefix(unquote(line.slice(4).split('\t')[0]!.trimEnd()))
}

function extend(header: Header, line: string): void {
  const [, key, value] = /^((?:\w+ ){1,2}?mode|(?:copy|rename) \w+|index|\w+ index) (.*)$/.exec(line) ?? []
  if (value === undefined) return
  if (key === 'old mode') header.oldMode = value
  else if (key === 'new mode') header.newMode = value
  else if (key === 'deleted file mode') Object.assign(header, {oldMode: value, kind: 'delete'})
  else if (key === 'new file mode') Object.assign(header, {newMode: value, kind: 'create'})
  else if (key === 'copy from' || key === 'rename from' || key === 'rename old') Object.assign(header, {old: unquote(value), kind: key.startsWith('copy') ? 'copy' : 'rename'})
  else if (key === 'copy to' || key === 'rename to' || key === 'rename new') header.new = unquote(value)
  else if (key === 'index') unchangedMode(header, value)
}

/** `index OLD..NEW MODE`: the mode is there when the patch leaves it. */
function unchangedMode(header: Header, value: string): void {
  const mode = value.split(' ')[1]
  if (mode) Object.assign(header, {oldMode: mode, newMode: mode})
}

type Body = {binary: boolean; hunks: Hunk[]; next: number}

function readHunks(lines: readonly string[], start: number, where: string): Body {
  if (/^(?:GIT binary patch|Binary files .* differ)/.test(lines[start] ?? '')) return {binary: true, hunks: [], next: start + 1}
  let next = start
  while (HUNK.test(lines[next] ?? '')) next = endOfHunk(lines, next, where)
  const text = lines.slice(start, next).join('\n')
  try {
    const [parsed] = text === '' ? [] : parsePatch(`--- a\n+++ b\n${text}\n`)
    return {binary: false, hunks: parsed?.hunks ?? [], next}
  } catch (error) {
    throw corrupt(where, error instanceof Error ? error.message : String(error))
  }
}

/** A hunk is as long as its header says: what follows (`-- ` of a signature) is none of it. */
function endOfHunk(lines: readonly string[], start: number, where: string): number {
  const [, before = '1', after = '1'] = HUNK.exec(lines[start]!)!
  let [old, now, at] = [Number(before), Number(after), start + 1]
  for (; old > 0 || now > 0 || lines[at]?.startsWith('\\'); at += 1) {
    const line = lines[at]
    if (line === undefined || (line === '' && at === lines.length - 1) || !/^(?:[-+ \\]|$)/.test(line)) {
      throw corrupt(where, `the hunk '${lines[start]!.slice(0, 60)}' is shorter than it says`)
    }
    if (!/^[+\\]/.test(line)) old -= 1
    if (!/^[-\\]/.test(line)) now -= 1
  }
  if (old < 0 || now < 0) throw corrupt(where, `the hunk '${lines[start]!.slice(0, 60)}' is longer than it says`)
  return at
}

/** The head of the hunk in whose middle a diff ends; undefined where its last hunk is whole. */
export function cutHunk(diff: string): string | undefined {
  const lines = diff.replace(/\n+$/, '').split('\n')
  const start = lines.findLastIndex((line) => HUNK.test(line))
  if (start === -1) return undefined
  const [, before = '1', after = '1'] = HUNK.exec(lines[start]!)!
  const body = lines.slice(start + 1)
  // A signature means that the end of the mail is there, whatever is wrong in it.
  if (body.includes('-- ') || !body.every((line) => /^(?:[-+ \\]|$)/.test(line))) return undefined
  const [old, now] = [body.filter((line) => !/^[+\\]/.test(line)).length, body.filter((line) => !/^[-\\]/.test(line)).length]
  return (old < Number(before) || now < Number(after)) && old <= Number(before) && now <= Number(after) ? lines[start]!.slice(0, 60) : undefined
}

/** The complaint about a diff that cannot be read. */
export function corrupt(where: string, why: string): InputError {
  return new InputError(`${where}: its diff is damaged (${why}): take it from 'git format-patch' or the list's archive, not from a mail program's copy`)
}

function filePatch(header: Header, {binary, hunks}: Body, first: string, where: string): FilePatch {
  const [named, renamed] = header.names ?? []
  const oldPath = header.old ?? named
  const newPath = header.new ?? renamed
  const path = newPath ?? oldPath
  if (path === undefined || path === '') throw corrupt(where, `no file name in '${first.slice(0, 100)}'`)
  const kind = header.kind ?? (oldPath === undefined ? 'create' : newPath === undefined ? 'delete' : 'modify')
  return {
    kind,
    path,
    // `--- x.c.orig` of a diff that was not made by git is no file of the tree.
    oldPath: kind === 'modify' ? path : (oldPath ?? path),
    ...(header.oldMode === undefined ? {} : {oldMode: header.oldMode}),
    ...(header.newMode === undefined ? {} : {newMode: header.newMode}),
    binary,
    hunks,
  }
}

import {chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {basename, dirname, join} from 'node:path'
import {readSeries, type Series} from '../series/series.js'
import {formatPatches, statedBase} from './mails.js'

/** The folder of a series, and the commits that it is to hold. */
export type Replacement = {folder: string; base: string; tip: string; path: string}

/**
 * Writes the commits as the series of a folder; whether that changed it. What
 * git does not know of a mail is kept: the cover letter, what stands below
 * `---`, To and Cc, and the base that is stated. The old series stays until the
 * new one is whole.
 *
 * @param onReady is called when the new one is whole, and nothing but renaming is left
 */
export async function replaceSeries(signal: AbortSignal, {folder, base, tip, path}: Replacement, onReady: () => Promise<void> = async () => {}): Promise<boolean> {
  const before = await readSeries(signal, [path])
  const fresh = await mkdtemp(join(dirname(path), `.${basename(path)}-`))
  try {
    await formatPatches(signal, folder, {base, tip, into: fresh, words: [...words(before), '--zero-commit', '--no-signature']})
    await keepTheRest(signal, before, fresh)
    await copyOthers(path, fresh)
    const same = await isSame(path, fresh)
    await onReady()
    if (!same) await swap(path, fresh)
    return !same
  } finally {
    await rm(fresh, {recursive: true, force: true})
  }
}

/** Brings back what a kill in the middle of replaceSeries left of a case's series, which could not be read else. */
export async function recoverSeries(directory: string, tree: string): Promise<void> {
  const folder = join(directory, tree)
  for (const candidate of await readdir(folder).catch(() => [])) {
    for (const name of await readdir(join(folder, candidate)).catch(() => [])) {
      const [, line] = /^\.(.+)\.before$/.exec(name) ?? []
      if (line !== undefined) await recover(join(folder, candidate, line))
    }
  }
}

/** A kill between the two renames of an earlier commit leaves the old series under another name. */
async function recover(path: string): Promise<void> {
  const [there, old] = await Promise.all([path, oldName(path)].map(async (one) => await lstat(one).catch(() => undefined)))
  if (old && !there) await rename(oldName(path), path)
  else if (old) await rm(oldName(path), {recursive: true})
}

function oldName(path: string): string {
  return join(dirname(path), `.${basename(path)}.before`)
}

async function swap(path: string, fresh: string): Promise<void> {
  // mkdtemp's folder is for its owner alone.
  await chmod(fresh, 0o777 & ~process.umask())
  await rename(path, oldName(path))
  await rename(fresh, path)
  await rm(oldName(path), {recursive: true})
}

/** `PATCH net v2` of `[PATCH net v2 1/3]`, and whether its mails are numbered. */
function words({cover, patches}: Series): string[] {
  const [, bracket = 'PATCH'] = /^\s*\[([^\]]*)\]/.exec(patches[0]!.subject) ?? []
  const prefix = bracket.replace(/\s*\b\d+\/\d+\b\s*/, '').trim() || 'PATCH'
  const isNumbered = cover.length > 0 || /\b\d+\/\d+\b/.test(bracket)
  return [`--subject-prefix=${prefix}`, ...(isNumbered ? ['--numbered'] : [])]
}

async function keepTheRest(signal: AbortSignal, before: Series, fresh: string): Promise<void> {
  const after = await readSeries(signal, [fresh])
  const names = (await readdir(fresh)).sort()
  for (const [index, {title}] of after.patches.entries()) {
    const old = before.patches.find((patch) => patch.title === title) ?? (before.patches.length === after.patches.length ? before.patches[index] : undefined)
    const file = join(fresh, names[index]!)
    const text = await readFile(file, 'latin1')
    const own = old === undefined ? text : withAddresses(withNotes(text, notesOf(old.raw.toString('latin1'))), old.raw.toString('latin1'))
    await writeFile(file, index === 0 ? withBase(own, before) : own, 'latin1')
  }
}

/** What its author wrote below `---`, for the reader of the mail. */
export function notesOf(mail: string): string {
  const [, below = ''] = /\n---\n([\s\S]*?)(?=^ \S.* \| +(?:\d+|Bin)|^ \d+ files? changed|^diff --git |^--- )/m.exec(mail) ?? []
  return /^content-transfer-encoding: base64/im.test(mail) ? '' : below.trim()
}

function withNotes(text: string, notes: string): string {
  return notes === '' ? text : text.replace(/\n---\n/, () => `\n---\n${notes}\n\n`)
}

function withAddresses(text: string, old: string): string {
  const head = old.slice(0, old.indexOf('\n\n') + 1)
  const kept = [...head.matchAll(/^(?:To|Cc): .*\n(?:[ \t].*\n)*/gim)].map(([field]) => field)
  return kept.length === 0 ? text : text.replace('\n\n', () => `\n${kept.join('')}\n`)
}

/** Where there is a cover letter, the base is stated in that. */
function withBase(text: string, before: Series): string {
  const base = before.cover.length > 0 ? undefined : statedBase(before)
  return base === undefined ? text : `${text.trimEnd()}\n\nbase-commit: ${base}\n`
}

/** The cover letter with the new count, and what else the user keeps in the folder. */
async function copyOthers(path: string, fresh: string): Promise<void> {
  const count = (await readdir(fresh)).length
  for (const name of await readdir(path)) {
    if (/^0000-/.test(name)) await writeFile(join(fresh, name), (await readFile(join(path, name), 'latin1')).replace(/^(Subject: .*?\b0+\/)\d+/m, `$1${count}`), 'latin1')
    else if (!/\.(?:patch|mbox|mbx|eml)$/.test(name)) await cp(join(path, name), join(fresh, name), {recursive: true})
  }
}

async function isSame(path: string, fresh: string): Promise<boolean> {
  const [old, now] = [(await readdir(path)).sort(), (await readdir(fresh)).sort()]
  if (old.join('/') !== now.join('/')) return false
  // Folders were copied, and are no part of a series.
  const read = async (folder: string, name: string) => await readFile(join(folder, name)).catch(() => Buffer.alloc(0))
  const texts = await Promise.all(old.map(async (name) => [await read(path, name), await read(fresh, name)] as const))
  return texts.every(([before, after]) => before.equals(after))
}

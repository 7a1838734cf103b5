import {readdir} from 'node:fs/promises'
import {basename, join} from 'node:path'
import {readEvidence} from '../run/folder.js'
import {type Variant} from '../verdict/verdict.js'

/** A session's folder of evidence. */
export type SessionFolder = {
  path: string
  name: string
  /** The livepatch or candidate that it is with. */
  fix: string | null
  variants: Variant[]
  repeat: number
}

const VARIANT = '(?:base|livepatched|reverted|patched|ruleset)'
const SESSION = new RegExp(`^(?:(.+)-)?(${VARIANT}(?:\\+${VARIANT})*)-(\\d+)$`)

/** The sessions of a case on a kernel, the first repeats first. */
export async function sessionFolders(evidence: string): Promise<SessionFolder[]> {
  const entries = await readdir(evidence, {withFileTypes: true}).catch(() => [])
  const sessions = entries.filter((entry) => entry.isDirectory()).flatMap(({name}) => sessionOf(join(evidence, name)) ?? [])
  return sessions.sort((a, b) => a.repeat - b.repeat || a.name.localeCompare(b.name))
}

function sessionOf(path: string): SessionFolder | undefined {
  const name = basename(path)
  const parts = SESSION.exec(name)
  if (!parts) return undefined
  return {path, name, fix: parts[1] ?? null, variants: parts[2]!.split('+') as Variant[], repeat: Number(parts[3])}
}

/** Every file of a folder of evidence, folders below it as well, by its path in it; links are left out. */
export async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, {withFileTypes: true, recursive: true}).catch(() => [])
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  return files.sort((a, b) => a.localeCompare(b, 'en', {numeric: true}))
}

/** A text of the evidence, cut at a whole line; undefined where there is none. */
export async function evidenceText(path: string, limit: number): Promise<{text: string; whole: boolean} | undefined> {
  const file = await readEvidence(path, limit)
  if (!file) return undefined
  const text = file.bytes.toString('utf8')
  return {text: file.whole ? text : text.slice(0, text.lastIndexOf('\n') + 1), whole: file.whole}
}

import {readdir, rename, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {z} from 'zod'
import {InputError} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {type OutMail} from './compose.js'
import {readJson, stateFolder, writeWhole} from '../lib/state.js'

/**
 * `waiting`: no server has it. `sending`: handed over, and no answer was seen;
 * what came of it is not known.
 */
const state = z.enum(['waiting', 'sending', 'sent'])

const entry = z.object({
  file: z.string().regex(/^[\w.+-]+\.eml$/),
  subject: z.string(),
  messageId: z.string(),
  code: z.string().nullable(),
  state,
  /** When it was sent, ISO 8601. */
  at: z.string().optional(),
})

const journal = z.object({
  schema: z.literal(1),
  version: z.number().int().positive(),
  /** textOf the series. */
  series: z.string(),
  sender: z.object({name: z.string(), email: z.string()}),
  recipients: z.array(z.object({name: z.string(), email: z.string(), as: z.enum(['To', 'Cc']), reason: z.string()})),
  mails: z.array(entry),
})

export type Entry = z.infer<typeof entry>

/** What was sent of one version of a series, or is about to be. */
export type Journal = z.infer<typeof journal> & {folder: string}

/** Whose journals are meant: a candidate's series for one line. */
export type Owner = {case: string; candidate: string; line: string}

export function journalsFolder({case: name, candidate, line}: Owner): string {
  return join(stateFolder(), 'sent', name, `${candidate}-${line}`)
}

/** The journals of a series, the first version first. */
export async function journalsOf(owner: Owner): Promise<Journal[]> {
  const home = journalsFolder(owner)
  const names = (await readdir(home).catch(() => [])).filter((name) => /^v\d+$/.test(name))
  const found = await Promise.all(names.map(async (name) => await readJournal(join(home, name))))
  return found.filter((one) => one !== undefined).sort((a, b) => a.version - b.version)
}

export async function readJournal(folder: string): Promise<Journal | undefined> {
  const read = await readJson(join(folder, 'journal.json'), journal)
  return read && {...read, folder}
}

export function isSent({mails}: Journal): boolean {
  return mails.every(({state: one}) => one === 'sent')
}

/**
 * Begins the journal of a version, with its mails beside it. It is there whole
 * before the first mail leaves, or not at all.
 */
export async function beginJournal(owner: Owner, facts: Omit<Journal, 'folder' | 'mails' | 'schema'>, mails: readonly OutMail[]): Promise<Journal> {
  const folder = join(journalsFolder(owner), `v${facts.version}`)
  const partial = `${folder}.partial`
  await rm(partial, {recursive: true, force: true})
  await makeFolder(partial)
  for (const {file, text} of mails) await writeWhole(join(partial, file), text)
  const entries = mails.map(({file, subject, messageId, code}): Entry => ({file, subject, messageId, code, state: 'waiting'}))
  const begun: Journal = {...facts, schema: 1, mails: entries, folder}
  await writeJournal({...begun, folder: partial})
  await rename(partial, folder)
  return begun
}

/** The journal with other facts, on the disk as well. */
export async function writeJournal({folder, ...facts}: Journal): Promise<void> {
  await writeWhole(join(folder, 'journal.json'), `${JSON.stringify(facts, null, 1)}\n`)
}

/** The journal with a mail in another state. */
export async function note(before: Journal, file: string, now: Entry['state']): Promise<Journal> {
  const mails = before.mails.map((one): Entry => (one.file === file ? {...one, state: now, ...(now === 'sent' ? {at: new Date().toISOString()} : {})} : one))
  const after = {...before, mails}
  await writeJournal(after)
  return after
}

/**
 * The journal in which the user's word stands for what is not known.
 *
 * @param arrived numbers of mails, from 0 for a cover letter, that arrived
 * @param lost those that did not
 * @throws InputError for a mail of which it is known
 */
export async function settle(before: Journal, arrived: readonly number[], lost: readonly number[]): Promise<Journal> {
  let now = before
  for (const [number, word] of [...arrived.map((one) => [one, 'sent'] as const), ...lost.map((one) => [one, 'waiting'] as const)]) {
    const mail = now.mails.find(({file}) => numberOf(file) === number)
    if (!mail) throw new InputError(`mail ${number} is none of v${before.version}: there are ${before.mails.map(({file}) => numberOf(file)).join(', ')}`)
    if (mail.state !== 'sending') throw new InputError(`of mail ${number} it is known that it ${mail.state === 'sent' ? 'was sent' : 'was not sent'}`)
    now = await note(now, mail.file, word)
  }
  return now
}

/** The number of a mail in its series; 0 of a cover letter. */
export function numberOf(file: string): number {
  return Number(/^(\d+)-/.exec(file)?.[1] ?? 0)
}

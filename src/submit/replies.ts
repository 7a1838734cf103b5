import {InputError} from '../lib/errors.js'
import {codeOfPatch} from '../series/identity.js'
import {type Mail, readMails} from '../series/mails.js'
import {type Patch, type Series} from '../series/series.js'
import {fieldsOf, isSame, personOf, trailersOf} from './message.js'

/** A mail of the series as it was sent: what a reply may refer to. */
export type SentMail = {messageId: string; /** Without what stands in brackets. */ title: string; /** codeOfPatch; null of a cover letter. */ code: string | null}

/** A tag of a reply, and the patch that it is put on, or why it is not. */
export type Tag = {tag: string; from: string; /** From 1; null where it is put on none. */ patch: number | null; reason: string}

const TAG = /^(?:reviewed|acked|tested)-by$/i

/**
 * The tags that people sent in reply to a series, after the rules of b4: a tag
 * belongs to the patch whose mail was answered, one given to the cover letter
 * to all patches; and it counts only when whoever it names sent it.
 *
 * @param mbox a file of mails, or several
 * @param sloppy takes tags of others' as well, and of patches that have changed (b4's --sloppy-trailers)
 */
export async function tagsOf(signal: AbortSignal, mbox: string, series: Series, sent: readonly SentMail[], sloppy: boolean): Promise<Tag[]> {
  const mails = await readMails(signal, mbox).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') throw new InputError(`--tags ${mbox} is not there: save the replies as an mbox`)
    throw error
  })
  const known = knownIds(series, sent, mails)
  const found = mails.flatMap((mail) => tagsIn(mail).flatMap((tag) => placesOf(mail, tag, {series, known, sloppy})))
  return found.filter((one, index) => found.findIndex((other) => other.tag === one.tag && other.patch === one.patch) === index)
}

/** What a message-id stands for: patches by number, with the code that was sent. */
type Known = Map<string, {patches: number[]; code: string | null}>

function knownIds(series: Series, sent: readonly SentMail[], mails: readonly Mail[]): Known {
  const known: Known = new Map()
  const all = series.patches.map((_, index) => index + 1)
  const own = [...series.cover, ...series.patches].flatMap((mail) => fieldsOf(mail, 'Message-ID').map((messageId): SentMail => sentOf(messageId, mail)))
  // The mbox may hold the series itself, as a list's archive gives a thread.
  const there = mails.filter(({subject}) => !/^\s*re:/i.test(subject)).flatMap((mail) => fieldsOf(mail, 'Message-ID').map((messageId): SentMail => sentOf(messageId, mail)))
  for (const {messageId, title, code} of [...sent, ...own, ...there]) {
    const number = series.patches.findIndex((patch) => sameTitle(patch.title, title)) + 1
    const isCover = code === null && [...series.cover.map(({subject}) => titleOf(subject)), ...sent.filter((one) => one.code === null).map((one) => one.title)].some((one) => sameTitle(one, title))
    if (number > 0) known.set(messageId, {patches: [number], code})
    else if (isCover) known.set(messageId, {patches: all, code: null})
  }
  return known
}

function sentOf(messageId: string, mail: Mail | Patch): SentMail {
  return {messageId, title: titleOf(mail.subject), code: 'files' in mail ? codeOfPatch(mail) : null}
}

/** A subject without `Re:` and brackets. */
export function titleOf(subject: string): string {
  return subject.replace(/^(?:\s*(?:re:|\[[^\]]*\]))+\s*/i, '')
}

function sameTitle(one: string, other: string): boolean {
  return one.replace(/\s+/g, ' ').trim().toLowerCase() === other.replace(/\s+/g, ' ').trim().toLowerCase()
}

/** The tags that the writer gave; what is quoted is not theirs. */
function tagsIn({subject, body, diff}: Mail): string[] {
  if (!/^\s*re:/i.test(subject)) return []
  const trailers = trailersOf(`${body}\n${diff}`).filter(({key}) => TAG.test(key))
  return trailers.map(({key, value}) => `${key.charAt(0).toUpperCase()}${key.slice(1).toLowerCase()}: ${value}`)
}

type About = {series: Series; known: Known; sloppy: boolean}

function placesOf(mail: Mail, tag: string, {series, known, sloppy}: About): Tag[] {
  const from = mail.author
  const target = targetOf(mail, series, known)
  const refused = (reason: string): Tag[] => [{tag, from, patch: null, reason}]
  if (!target) return refused(`the mail '${mail.subject}' answers no mail of this series`)
  const [giver, sender] = [personOf(tag.slice(tag.indexOf(':') + 1).replace(/\s+#.*$/, '')), personOf(from)]
  if (!giver) return refused('it names no address')
  if (!sloppy && !(sender && isSame(giver, sender))) return refused(`it was sent by ${sender?.email ?? from}, not by ${giver.email}: --sloppy-trailers takes it all the same`)
  return target.patches.flatMap((number): Tag[] => {
    const patch = series.patches[number - 1]!
    if (!sloppy && target.code !== null && target.code !== codeOfPatch(patch)) {
      return [{tag, from, patch: null, reason: `it was given to another version of patch ${number}, which has changed since: ask again, or --sloppy-trailers`}]
    }
    if (hasTag(patch.body, tag)) return [{tag, from, patch: null, reason: `patch ${number} has it already`}]
    return [{tag, from, patch: number, reason: target.why}]
  })
}

/** What a mail answers: the nearest mail of the series in its thread, else the patch of its subject. */
function targetOf(mail: Mail, series: Series, known: Known): {patches: number[]; code: string | null; why: string} | undefined {
  const ids = [...fieldsOf(mail, 'References'), ...fieldsOf(mail, 'In-Reply-To')].flatMap((field) => field.match(/<[^<>\s]+>/g) ?? [])
  const nearest = ids.reverse().find((id) => known.has(id))
  if (nearest !== undefined) return {...known.get(nearest)!, why: `in reply to ${nearest}`}
  const number = series.patches.findIndex((patch) => sameTitle(patch.title, titleOf(mail.subject))) + 1
  return number > 0 ? {patches: [number], code: null, why: 'by its subject'} : undefined
}

function hasTag(message: string, tag: string): boolean {
  return trailersOf(message).some(({key, value}) => `${key}: ${value}`.toLowerCase() === tag.toLowerCase())
}

/** A commit message with tags, before the last Signed-off-by: whoever sends it signs off last. */
export function withTags(message: string, tags: readonly string[]): string {
  if (tags.length === 0) return message
  const lines = message.trimEnd().split('\n')
  const at = lines.findLastIndex((line) => /^signed-off-by:/i.test(line))
  if (at === -1) return `${[...lines, '', ...tags].join('\n')}\n`
  return `${[...lines.slice(0, at), ...tags, ...lines.slice(at)].join('\n')}\n`
}

import {mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {git} from '../lib/git.js'
import {keyOf} from '../lib/hash.js'
import {codeOfPatch, textOf} from '../series/identity.js'
import {type Series} from '../series/series.js'
import {statedIn} from './applies.js'
import {addressField, bytesOf, isAscii, messageText, parseMessage} from './header.js'
import {isDiffstat, notesOf, type Person, prefixOf} from './message.js'
import {type Recipient} from './recipients.js'
import {withTags} from './replies.js'

/** A mail as it is sent. */
export type OutMail = {
  /** `0001-ipmr-....eml`; `cover-letter.eml`, so that `git am 0*.eml` takes the patches. */
  file: string
  subject: string
  messageId: string
  /** codeOfPatch of its patch; null of the cover letter. */
  code: string | null
  text: Buffer
}

export type Letter = {
  series: Series
  /** The repository, and in it the series on its base. */
  directory: string
  base: string
  commit: string
  /** The base's hash where others have it too: of a git source, not of the distribution's. */
  publicBase: string | undefined
  sender: Person
  version: number
  /** The mails' name for machines: b4's change-id, or case and candidate. */
  slug: string
  /** A commit with the version that was sent before, on the same base. */
  previous: string | undefined
  recipients: readonly Recipient[]
  inReplyTo: string | undefined
  /** Tags by patch, from 0. */
  tags: readonly (readonly string[])[]
  /** What stands in the cover letter, or below the --- of a single patch, besides what its author wrote. */
  sections: readonly string[]
  /** The subject of a cover letter that its author did not write. */
  title: string
}

/** How the parts of a letter begin that are made anew each time; they stand last. */
export const MADE = ['Tested with patchbench, case ', 'Sent in spite of this:'] as const

/** The name that these programs sign mails with, in place of git's version. */
const SIGNATURE = 'patchbench'

/**
 * The mails of a series, made by `git format-patch` in a repository of their
 * own that borrows the objects: no setting of the user's changes them, and
 * the same series gives the same message-ids.
 */
export async function compose(signal: AbortSignal, letter: Letter): Promise<OutMail[]> {
  const home = await mkdtemp(join(tmpdir(), 'patchbench-mails-'))
  try {
    const repository = await borrow(signal, letter.directory, home)
    const tip = await recommit(signal, repository, letter)
    const folder = await format(signal, repository, home, {...letter, commit: tip})
    const names = (await readdir(folder)).sort()
    return await Promise.all(names.map(async (name) => finish(name, await readFile(join(folder, name)), names.length, letter)))
  } finally {
    await rm(home, {recursive: true, force: true})
  }
}

/** No setting of the user's has a say in what the mails look like. */
const ALONE = {GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1'}

async function borrow(signal: AbortSignal, directory: string, home: string): Promise<string> {
  const {stdout} = await git(directory, ['rev-parse', '--git-path', 'objects', '--show-object-format'], {signal})
  const [objects = '', format = 'sha1'] = stdout.split('\n')
  const repository = join(home, 'series.git')
  await mkdir(repository)
  await git(repository, ['init', '--quiet', '--bare', '--template=', `--object-format=${format}`, '.'], {signal, env: ALONE})
  await mkdir(join(repository, 'objects/info'), {recursive: true})
  await writeFile(join(repository, 'objects/info/alternates'), `${resolve(directory, objects)}\n`)
  return repository
}

/** The commits again, with the tags in their messages. */
async function recommit(signal: AbortSignal, repository: string, {base, commit, tags, sender}: Letter): Promise<string> {
  const {stdout} = await git(repository, ['rev-list', '--reverse', `${base}..${commit}`], {signal, env: ALONE})
  let parent = base
  for (const [index, old] of stdout.split('\n').filter(Boolean).entries()) {
    const {stdout: about} = await git(repository, ['log', '-1', '--format=%T%n%an%n%ae%n%aI%n%B', old], {signal, env: ALONE})
    const [tree = '', name = '', email = '', date = '', ...message] = about.split('\n')
    const who = {GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date, ...committer(sender)}
    const made = await git(repository, ['commit-tree', tree, '-p', parent], {signal, env: {...ALONE, ...who}, input: withTags(message.join('\n'), tags[index] ?? [])})
    parent = made.stdout.trim()
  }
  return parent
}

function committer({name, email}: Person): Record<string, string> {
  return {GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email}
}

async function format(signal: AbortSignal, repository: string, home: string, letter: Letter): Promise<string> {
  const {series, base, commit, version, sender, previous} = letter
  const folder = join(home, 'mails')
  await mkdir(folder)
  await git(repository, ['update-ref', 'refs/heads/series', commit], {signal, env: ALONE})
  const words = ['--quiet', '--no-attach', '--no-thread', '--abbrev=12', `--signature=${SIGNATURE}`, `--output-directory=${folder}`, '--suffix=.eml']
  const prefix = prefixOf(series.patches[0]!.subject).words.join(' ') || 'PATCH'
  words.push(`--subject-prefix=${prefix}`, `--from=${sender.name} <${sender.email}>`, ...(version > 1 ? [`--reroll-count=${version}`] : []))
  if (hasCover(series)) {
    await git(repository, ['config', 'branch.series.description', coverText(letter)], {signal, env: ALONE})
    words.push('--cover-letter', '--cover-from-description=subject')
  } else {
    words.push('--no-cover-letter')
  }
  if (previous !== undefined) words.push(`--range-diff=${base}..${previous}`)
  await git(repository, ['format-patch', ...words, `${base}..series`], {signal, env: {...ALONE, ...committer(sender)}})
  return folder
}

/** Whether the series gets a cover letter: one of several patches always does. */
export function hasCover({cover, patches}: Series): boolean {
  return cover.length > 0 || patches.length > 1
}

/** Subject and text of the cover letter, as a branch's description. */
function coverText({series, sections, title}: Letter): string {
  const [letter] = series.cover
  const subject = letter ? letter.subject.replace(/^(?:\s*\[[^\]]*\])+\s*/, '') : title
  const text = [letter ? blurbOf(`${letter.body}\n${letter.diff}`) : '', ...sections].filter(Boolean).join('\n\n')
  return `${subject.replace(/[\s\p{Cc}]+/gu, ' ').trim()}\n\n${text}\n`
}

/** What the author wrote in a cover letter: without what git and we add below it. */
export function blurbOf(text: string): string {
  const lines = text.replaceAll('\r', '').split('\n')
  const end = lines.findIndex((line, index) => line === '-- ' || isMade(line) || isDiffstat(line) || isShortlog(lines, index) || /^(?:base-commit|change-id|prerequisite-(?:patch-id|change-id)): /.test(line))
  return lines.slice(0, end === -1 ? undefined : end).join('\n').replace(/\n---\s*$/, '').trim()
}

function isMade(line: string): boolean {
  return MADE.some((start) => line.startsWith(start))
}

/** `Name (3):` with subjects below it. */
function isShortlog(lines: readonly string[], index: number): boolean {
  return /^\S.* \(\d+\):$/.test(lines[index]!) && /^ {2}\S/.test(lines[index + 1] ?? '')
}

/** A single patch's notes: what its author wrote below the ---, without what we add. */
export function ownNotes(notes: string): string {
  const lines = notes.split('\n')
  const end = lines.findIndex(isMade)
  return lines.slice(0, end === -1 ? undefined : end).join('\n').trim()
}

function finish(name: string, bytes: Buffer, count: number, letter: Letter): OutMail {
  const {series, sections, recipients, inReplyTo} = letter
  const message = parseMessage(bytes)
  const number = Number(/^(?:v\d+-)?(\d+)/.exec(name)![1])
  const patch = number === 0 ? undefined : series.patches[number - 1]!
  const isSingle = count === 1
  const [own, root] = [messageIdOf(letter, number), messageIdOf(letter, hasCover(series) ? 0 : 1)]
  const parents = [...(inReplyTo === undefined ? [] : [inReplyTo]), ...(own === root ? [] : [root])]
  const fields = [
    ...(['To', 'Cc'] as const).flatMap((as) => addressField(as, recipients.filter((one) => one.as === as))),
    `Message-ID: ${own}`,
    ...(parents.length === 0 ? [] : [`In-Reply-To: ${parents.at(-1)!}`, `References: ${parents.join('\n\t')}`]),
  ]
  const notes = patch ? [ownNotes(notesOf(patch)), ...(isSingle ? sections : [])].filter(Boolean).join('\n\n') : ''
  const body = withTrailers(withNotes(message.body, notes), own === root ? trailersFor(letter) : [])
  const subject = message.header.find((field) => field.startsWith('Subject: '))!.slice('Subject: '.length)
  return {
    file: number === 0 ? 'cover-letter.eml' : name.replace(/^v\d+-/, ''),
    subject: plainSubject(letter, number, subject),
    messageId: own,
    code: patch ? codeOfPatch(patch) : null,
    text: Buffer.from(messageText({...message, body}, fields), 'latin1'),
  }
}

/** The same series of the same version is the same mails, also to whoever replied to them. */
function messageIdOf({series, slug, version, sender}: Letter, number: number): string {
  const hash = keyOf({series: textOf(series), version, sender: sender.email}).slice(0, 12)
  return `<${slug.replace(/[^\w.-]+/g, '-')}-v${version}-${number}-${hash}@${sender.email.split('@')[1]!.replace(/[^\w.-]+/g, '-')}>`
}

/** A mail with notes between the --- and the diffstat. */
function withNotes(body: string, notes: string): string {
  if (notes === '') return body
  const at = body.startsWith('---\n') ? 0 : body.indexOf('\n---\n') + 1
  return `${body.slice(0, at)}---\n${bytesOf(notes)}\n\n${body.slice(at + '---\n'.length)}`
}

/** A mail with lines before its signature. */
function withTrailers(body: string, lines: readonly string[]): string {
  if (lines.length === 0) return body
  const at = body.lastIndexOf('\n-- \n')
  return `${body.slice(0, at)}\n${lines.map((line) => `${line}\n`).join('')}${body.slice(at + 1)}`
}

/** What tools look for at the end of the first mail. */
function trailersFor({series, publicBase}: Letter): string[] {
  const {base = publicBase, changeId} = statedIn(series)
  return [...(base === undefined ? [] : [`base-commit: ${base}`]), ...(changeId === undefined ? [] : [`change-id: ${changeId}`])]
}

/** The subject as people read it; in the mail it may be folded and encoded. */
function plainSubject({series, title}: Letter, number: number, folded: string): string {
  const line = folded.replace(/\n[ \t]/g, ' ')
  if (!/=\?/.test(line) && isAscii(line)) return line
  const words = number === 0 ? (series.cover[0]?.subject ?? title) : series.patches[number - 1]!.title
  return `${/^\[[^\]]*\]/.exec(line)?.[0] ?? ''} ${words.replace(/^(?:\s*\[[^\]]*\])+\s*/, '')}`.trim()
}

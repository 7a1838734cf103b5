import {mkdtemp, readdir, rm, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {lastLines, run} from '../lib/process.js'
import {type Mail} from '../series/mails.js'
import {readSeries, type Series} from '../series/series.js'
import {openTree} from '../tree/tree.js'

/** The series that was found, and the commits that it lies between where it came from a git tree. */
export type Found = {series: Series; range?: {git: string; base: string; tip: string}}

/** The part of the header that a patch in a file has a use for; the rest tells how a mail travelled. */
const KEPT = /^(?:from|to|cc|date|subject|message-id|in-reply-to|references|mime-version|content-type|content-transfer-encoding|content-language):/i

const ZERO = `From ${'0'.repeat(40)} Mon Sep 17 00:00:00 2001`

/**
 * The series of a range of commits, of a message id, or of mboxes, folders and patch files.
 *
 * @param range a range in the git folder, like `origin/main..work`
 */
export async function findSeries(signal: AbortSignal, words: readonly string[], folder: string | undefined): Promise<Found> {
  if (folder !== undefined) return await seriesOfRange(signal, folder, words)
  const [word = ''] = words
  const there = await stat(word).catch(() => undefined)
  if (words.length === 1 && !there && isMessageId(word)) return {series: await seriesOfMessage(signal, messageId(word))}
  return {series: await readSeries(signal, words)}
}

function isMessageId(word: string): boolean {
  return /^(?:https?:\/\/\S+\/)?<?[^\s@/<>]+@[^\s@/<>]+>?\/?$/.test(word)
}

function messageId(word: string): string {
  return word.replace(/^https?:\/\/\S+\/(?=[^/]*@)/, '').replace(/\/$/, '').replace(/^<|>$/g, '')
}

async function seriesOfRange(signal: AbortSignal, folder: string, words: readonly string[]): Promise<Found> {
  const [range, ...more] = words
  if (range === undefined || more.length > 0) throw new InputError(`--git ${folder} is imported from by one range of commits, like origin/main..work: name one`)
  const tree = await openTree(signal, folder)
  const [from = '', to = ''] = range.includes('..') ? range.split('..') : [range, 'HEAD']
  if (range.includes('...') || from === '') throw new InputError(`'${range}' is no range of commits for a series: write BASE..TIP, like origin/main..work`)
  const [base, tip] = [await commitOf(signal, tree.directory, from), await commitOf(signal, tree.directory, to || 'HEAD')]
  const {stdout: merges} = await git(tree.directory, ['rev-list', '--merges', '--max-count=1', `${base}..${tip}`], {signal})
  if (merges !== '') throw new InputError(`'${range}' has the merge ${merges.slice(0, 12)} in it, which no series can have: rebase it first`)
  const start = (await git(tree.directory, ['merge-base', base, tip], {signal, allowedExits: [0, 1]})).stdout.trim()
  if (start === tip || start === '') throw new InputError(`'${range}' has no commit in it in ${tree.directory}: the tip comes last, like origin/main..work`)
  const into = await mkdtemp(join(tmpdir(), 'patchbench-range-'))
  try {
    await formatPatches(signal, tree.directory, {base: start, tip, into, words: [`--base=${start}`]})
    return {series: await readSeries(signal, [into]), range: {git: tree.directory, base: start, tip}}
  } finally {
    await rm(into, {recursive: true, force: true})
  }
}

async function commitOf(signal: AbortSignal, folder: string, revision: string): Promise<string> {
  const {stdout, exitCode} = await git(folder, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`], {signal, allowedExits: [0, 1, 128]})
  if (exitCode === 0) return stdout.trim()
  throw new InputError(`${revision} is no commit in ${folder}: name a branch, a tag or a hash that 'git log' shows there`)
}

/** What of the user's settings would change the patches themselves, and no option does. */
const PLAIN = ['format.coverLetter=false', 'format.useAutoBase=false', 'format.notes=false', 'format.signOff=false']

/** Writes the commits between base and tip as patches into a folder (git-format-patch(1)). */
export async function formatPatches(signal: AbortSignal, folder: string, {base, tip, into, words}: {base: string; tip: string; into: string; words: readonly string[]}): Promise<void> {
  const fixed = ['--quiet', '--find-renames', '--no-ext-diff', '--no-attach', '--no-thread', '--src-prefix=a/', '--dst-prefix=b/', `--output-directory=${into}`]
  await git(folder, ['format-patch', ...fixed, ...words, `${base}..${tip}`], {signal}, PLAIN)
}

async function seriesOfMessage(signal: AbortSignal, id: string): Promise<Series> {
  const into = await mkdtemp(join(tmpdir(), 'patchbench-b4-'))
  try {
    const {exitCode, all} = await b4(signal, id, into)
    const names = (await readdir(into)).sort()
    const mbox = names.find((name) => name.endsWith('.mbx'))
    if (exitCode !== 0 || mbox === undefined) throw new CouldNotRun(`b4 did not bring the series of ${id}: save the thread as an mbox and import that`, lastLines(all, 8))
    const cover = names.filter((name) => name.endsWith('.cover'))
    return await readSeries(signal, [...cover, mbox].map((name) => join(into, name)))
  } finally {
    await rm(into, {recursive: true, force: true})
  }
}

async function b4(signal: AbortSignal, id: string, into: string) {
  const missing = new InputError(`${id} is a message id, and b4, which fetches those, is not installed: 'apt-get install b4', or save the thread as an mbox and import that`)
  return await run('b4', ['am', '--outdir', into, '--', id], {signal, cwd: into, allowedExits: 'any', env: {HOME: process.env.HOME ?? into}}).then((done) => {
    // setpriv's words and exit code for a program that is not there.
    if (done.exitCode === 127 || done.stderr.includes('failed to execute')) throw missing
    return done
  })
}

/** The commit that a series says it is made for (git-format-patch(1), base tree information). */
export function statedBase({cover, patches}: Series): string | undefined {
  for (const {raw} of [...cover, ...patches]) {
    const [, base] = /^base-commit: ([0-9a-f]{40}|[0-9a-f]{64})\s*$/m.exec(raw.toString('latin1')) ?? []
    if (base) return base
  }
  return undefined
}

/** The series as files, named as git format-patch names them. */
export function seriesFilesOf({cover, patches}: Series): Record<string, Buffer> {
  const covers = cover.map((mail, index) => [`0000-cover-letter${index > 0 ? `-${index + 1}` : ''}.patch`, plainMail(mail)] as const)
  const mails = patches.map((patch, index) => [`${String(index + 1).padStart(4, '0')}-${fileName(patch.title)}.patch`, plainMail(patch)] as const)
  return Object.fromEntries([...covers, ...mails])
}

function fileName(title: string): string {
  const plain = title.replace(/[^A-Za-z0-9._]+/g, '-').replace(/\.{2,}/g, '.').replace(/^[-.]+/, '')
  return plain.slice(0, 52).replace(/[-.]+$/, '') || 'patch'
}

/** A mail with the part of its header that matters, its body to the byte. */
export function plainMail({raw}: Pick<Mail, 'raw'>): Buffer {
  const text = raw.toString('latin1')
  const end = text.indexOf('\n\n')
  const head = end === -1 ? text : text.slice(0, end)
  const lines = head.replace(/\n[ \t]/g, (fold) => `\u0000${fold.slice(1)}`).split('\n')
  const first = /^From [0-9a-f]{40,64} /.test(lines[0]!) ? lines[0]! : ZERO
  const kept = lines.filter((line) => KEPT.test(line)).map((line) => line.replaceAll('\u0000', '\n'))
  return Buffer.from(`${[first, ...kept].join('\n')}${end === -1 ? '\n' : text.slice(end)}`, 'latin1')
}

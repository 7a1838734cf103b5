import {mkdtemp, readdir, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join} from 'node:path'
import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {corrupt, cutHunk} from './diff.js'

/** A mail as git reads it. */
export type Mail = {
  /** What the user knows it by: its file, and its number where the file holds several. */
  where: string
  /** The mail itself, its lines ended by LF. */
  raw: Buffer
  /** The subject with what stands in brackets. */
  subject: string
  author: string
  body: string
  diff: string
  /** The files that git sees in the diff. */
  paths: string[]
  /** Whether the lines within a base64 or quoted-printable body end in CR LF. */
  encodedCr: boolean
}

/** Names in a folder of patches that are patches. */
const PATCH = /\.(?:patch|mbox|mbx|eml)$/

/**
 * The files that a SERIES argument stands for: itself, or the patches of a folder by name.
 *
 * @throws InputError when there is nothing of the kind
 */
export async function seriesFiles(path: string): Promise<string[]> {
  if (path === '') throw new InputError('the name of the series is empty: name an mbox, a folder of patches or patch files')
  const found = await stat(path).catch(() => undefined)
  if (!found) throw new InputError(`the series ${path} is not there: name an mbox, a folder of patches or patch files`)
  if (found.isFile()) return [path]
  if (!found.isDirectory()) throw new InputError(`the series ${path} is neither a file nor a folder: save it to a file first`)
  const names = (await readdir(path)).filter((name) => PATCH.test(name)).sort()
  if (names.length === 0) throw new InputError(`the series ${path} is a folder without patches: files that end in .patch, .mbox or .eml are looked for`)
  return names.map((name) => join(path, name))
}

/** The mails of a file, one by one; git says where one ends and what is in it. */
export async function readMails(signal: AbortSignal, file: string): Promise<Mail[]> {
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-series-'))
  try {
    const names = await split(signal, file, folder)
    const mails: Mail[] = []
    const whole = await readFile(file)
    let at = 0
    for (const [index, name] of names.entries()) {
      const where = names.length > 1 ? `${basename(file)}, mail ${index + 1}` : basename(file)
      const bytes = await readFile(join(folder, name))
      // Not found where git undid what an mbox does to lines that begin with 'From '.
      const found = at === -1 ? -1 : whole.indexOf(bytes, at)
      mails.push(await readMail(signal, folder, bytes, where, found === -1 ? undefined : linesIn(whole.subarray(0, found))))
      at = found === -1 ? -1 : found + bytes.length
    }
    return mails
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

async function split(signal: AbortSignal, file: string, folder: string): Promise<string[]> {
  const text = await readFile(file)
  checkText(text, basename(file))
  const content = join(folder, 'content')
  await writeFile(content, text)
  // CR stays: whether it belongs to the mail or to the code is seen mail by mail.
  await git(folder, ['mailsplit', '-b', '--keep-cr', '-d6', `-o${folder}`, '--', content], {signal, env: alone(folder)})
  return (await readdir(folder)).filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(a) - Number(b))
}

/** What is no text git would take for a mail without a header or a diff. */
function checkText(bytes: Buffer, name: string): void {
  if (bytes.toString('latin1').trim() === '') throw new InputError(`${name} is empty: save the mails of the series to it, or leave it out`)
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) throw new InputError(`${name} is compressed: 'gunzip' it first`)
  if (bytes.includes(0)) throw new InputError(`${name} is no text: a series is an mbox, a folder of patches or patch files`)
}

/** @param above how many lines of the user's file stand above the mail, where that is known */
async function readMail(signal: AbortSignal, folder: string, bytes: Buffer, where: string, above?: number): Promise<Mail> {
  const raw = withoutTransportCr(bytes)
  const [message, patch] = [join(folder, 'message'), join(folder, 'patch')]
  const kept = await mailinfo(signal, folder, raw, where, 'nowarn')
  const encodedCr = /^(?:diff --git|---|\+\+\+) .*\r$/m.test(await readFile(patch, 'utf8'))
  const {stdout} = encodedCr ? await mailinfo(signal, folder, raw, where, 'strip') : kept
  const field = (name: string) => [...stdout.matchAll(new RegExp(`^${name}: (.*)$`, 'gm'))].map(([, value]) => value).join(' ').trim()
  const diff = await readFile(patch, 'utf8')
  const [author, email, subject] = [field('Author'), field('Email'), field('Subject').replace(/\s+/g, ' ')]
  const paths = await pathsOf(signal, folder, {patch, diff, where, above: linesAbove(raw, diff, above)})
  return {where, raw, subject, author: email ? `${author} <${email}>` : author, body: await readFile(message, 'utf8'), diff, paths, encodedCr}
}

/** A mail whose header ends its lines in CR LF got them on its way; one whose diff alone does, from the code. */
function withoutTransportCr(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1')
  return /^[^\n]*\r\n/.test(text) ? Buffer.from(text.replaceAll('\r\n', '\n'), 'latin1') : bytes
}

async function mailinfo(signal: AbortSignal, folder: string, input: Buffer, where: string, cr: 'strip' | 'nowarn') {
  const args = ['mailinfo', '-k', '-u', '--no-scissors', '--no-message-id', `--quoted-cr=${cr}`, 'message', 'patch']
  // Not --encoding=UTF-8: git 2.39 leaves bodies in Latin-1 as they are with it.
  const result = await git(folder, args, {signal, input, env: alone(folder), allowedExits: [0, 1, 128]}, ['i18n.commitEncoding=UTF-8'])
  if (result.exitCode !== 0) throw new InputError(`${where}: git cannot read this as a mail (${gitsWords(result.stderr)}): save it as mbox, or use 'git format-patch'`)
  return result
}

type Diff = {/** The file that git reads. */ patch: string; diff: string; where: string; /** Lines of the user's file above the diff. */ above: number | undefined}

/** How many lines of the user's file stand above a diff; unknown where the mail has it in another form, as base64. */
function linesAbove(raw: Buffer, diff: string, above: number | undefined): number | undefined {
  const at = raw.length - Buffer.byteLength(diff)
  return above !== undefined && at >= 0 && raw.toString('utf8', at) === diff ? above + linesIn(raw.subarray(0, at)) : undefined
}

function linesIn(bytes: Buffer): number {
  return bytes.reduce((count, byte) => (byte === 0x0a ? count + 1 : count), 0)
}

/** git's words with the line of the user's file; without one where only that of git's own file is known. */
function withLine(words: string, above: number | undefined): string {
  if (above !== undefined) return words.replace(/\bline (\d+)/, (_, line: string) => `line ${Number(line) + above}`)
  return words.replace(/ ?\(line \d+\)| (?:at|on) line \d+|\bline \d+: /, '')
}

/** The files of a diff in git's own view, to compare ours with. */
async function pathsOf(signal: AbortSignal, folder: string, {patch, diff, where, above}: Diff): Promise<string[]> {
  if (diff.trim() === '') return []
  const result = await git(folder, ['apply', '--numstat', '-z', '--allow-empty', patch], {signal, env: alone(folder), allowedExits: [0, 1, 128]})
  if (result.exitCode !== 0) {
    const cut = cutHunk(diff)
    if (cut !== undefined) throw new InputError(`${where}: the mail ends in the middle of the hunk '${cut}': it was cut off on its way, save it anew`)
    throw corrupt(where, withLine(gitsWords(result.stderr.replaceAll(`${patch}:`, 'line ')), above))
  }
  return result.stdout.split('\0').filter(Boolean).map((entry) => entry.split('\t').slice(2).join('\t'))
}

/** A repository that the folder happens to be in has no say in how mails are read. */
function alone(folder: string): Record<string, string> {
  return {GIT_CEILING_DIRECTORIES: join(folder, '..')}
}

function gitsWords(stderr: string): string {
  return stderr.split('\n').find((line) => /^(?:error|fatal): /.test(line))?.replace(/^\w+: /, '') ?? 'it does not say why'
}

import {InputError} from '../lib/errors.js'
import {corrupt, type FilePatch, parseDiff} from './diff.js'
import {type Mail, readMails, seriesFiles} from './mails.js'
import {inOrder} from './order.js'
import {checkFile} from './safety.js'

/** A mail with a diff. */
export type Patch = Mail & {
  /** The subject as the commit will have it. */
  title: string
  files: FilePatch[]
}

/** A series in the order in which it is applied; its cover letter stands apart. */
export type Series = {
  cover: Mail[]
  patches: Patch[]
  /** What its numbers tell: that it came in another order, and what is missing. */
  notes: string[]
}

/**
 * Reads a series from mboxes, folders of patches and patch files, and refuses
 * what no tree should be asked to take.
 *
 * @throws InputError that names the mail and the path
 */
export async function readSeries(signal: AbortSignal, paths: readonly string[]): Promise<Series> {
  const files = (await Promise.all(paths.map(seriesFiles))).flat()
  const mails: Mail[] = []
  for (const file of files) mails.push(...(await readMails(signal, file)))
  const cover = mails.filter(isCover)
  const found = mails.filter((mail) => !isCover(mail)).map(toPatch)
  if (found.length === 0) throw new InputError(`the series ${paths.join(' ')} is empty: no mail in it has a diff`)
  return {cover, ...inOrder(found)}
}

/** `[PATCH 0/3]`, `[RFC PATCH net-next v2 00/12]`. */
function isCover({subject, diff}: Mail): boolean {
  return /\[[^\]]*\b0+\/\d+[^\]]*\]/.test(subject) && !/^diff --git /m.test(diff)
}

/** Of a text without a header git makes a mail of nobody's. */
function withoutMail({where, diff, raw}: Mail): never {
  if (/^(?:diff --git |--- \S.*\n\+\+\+ )/m.test(`${diff}\n${raw.toString('latin1')}`)) {
    throw new InputError(`${where} is a diff without a mail around it, so it has no author and no message: commit it and take the mail from 'git format-patch -1'`)
  }
  throw new InputError(`${where} is neither a mail nor a diff: a series is an mbox, a folder of patches or patch files`)
}

function toPatch(mail: Mail): Patch {
  const isMail = mail.author !== '' || mail.subject !== ''
  const files = isMail ? parseDiff(mail.diff, mail.where) : withoutMail(mail)
  if (files.length === 0) throw new InputError(`${mail.where}: the mail '${mail.subject}' has no diff: leave it out, only a cover letter '[PATCH 0/N]' may be without one`)
  if (!mail.author) throw new InputError(`${mail.where}: the mail has no author: it needs a 'From: Name <address>' line, as 'git format-patch' writes it`)
  for (const file of files) checkFile(file, mail.where)
  // Two readers who disagree are how a path slips past a check.
  if (files.length !== mail.paths.length || files.some(({path}, index) => path !== mail.paths[index])) {
    throw corrupt(mail.where, `git reads ${mail.paths.join(', ') || 'no file'} where it says ${files.map(({path}) => path).join(', ')}`)
  }
  return {...mail, title: mail.subject.replace(/^(?:\s*(?:re:|\[[^\]]*\]))+\s*/i, '') || mail.subject, files}
}

import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {addressField, messageText} from './header.js'
import {type Journal, note, numberOf, writeJournal} from './journal.js'
import {type Person} from './message.js'
import {handOver, needSendEmail} from './smtp.js'
import {writeWhole} from '../lib/state.js'

/**
 * Sends what a journal has not sent, in order, and writes down each step
 * before and after it is taken: whatever ends this, the next one knows. To be
 * called under the lock of the series' journals.
 *
 * @throws InputError where a mail may or may not have arrived, which only a look at the list's archive tells
 * @throws CouldNotRun where the server refuses one; what was sent stays sent
 */
export async function sendJournal(context: Context, journal: Journal): Promise<Journal> {
  await needSendEmail(context.signal)
  checkKnown(journal)
  let now = journal
  for (const {file, subject} of journal.mails.filter(({state}) => state === 'waiting')) {
    context.signal.throwIfAborted()
    context.progress(`sending ${subject}`)
    now = await note(now, file, 'sending')
    const handed = await handOver(context.signal, {file: join(now.folder, file), sender: now.sender, recipients: now.recipients, dryRun: false})
    if (handed.state === 'unknown') checkKnown(now, handed.words)
    now = await note(now, file, handed.state === 'sent' ? 'sent' : 'waiting')
    if (handed.state === 'refused') throw refusal(now, subject, handed.words)
  }
  return now
}

function refusal({mails}: Journal, subject: string, words: string): CouldNotRun {
  const sent = mails.filter(({state}) => state === 'sent').length
  return new CouldNotRun(`'${subject}' was not sent: ${words}`, `${sent} of ${mails.length} mails were sent; '--resume' sends the others (with --exclude for an address that is refused)`)
}

function checkKnown(journal: Journal, words?: string): void {
  const open = journal.mails.find(({state}) => state === 'sending')
  if (!open) return
  const number = numberOf(open.file)
  const why = words === undefined ? 'sending it was cut off' : words
  const ways = `look for Message-ID ${open.messageId} where it should be, then '--resume --arrived ${number}' or '--resume --lost ${number}'`
  throw new InputError(`'${open.subject}' may have arrived (${why}): ${ways}`)
}

/** The journal without some recipients; the mails that are still to be sent no longer name them. */
export async function withoutRecipients(journal: Journal, excluded: readonly Person[]): Promise<Journal> {
  if (excluded.length === 0) return journal
  const unknown = excluded.find(({email}) => !journal.recipients.some((one) => one.email.toLowerCase() === email.toLowerCase()))
  if (unknown) throw new InputError(`--exclude ${unknown.email}: v${journal.version} does not go there`)
  const recipients = journal.recipients.filter(({email}) => !excluded.some((one) => one.email.toLowerCase() === email.toLowerCase()))
  if (recipients.length === 0) throw new InputError('--exclude leaves nobody to send to')
  for (const {file, state} of journal.mails) if (state === 'waiting') await readdress(join(journal.folder, file), recipients)
  const now = {...journal, recipients}
  await writeJournal(now)
  return now
}

async function readdress(path: string, recipients: Journal['recipients']): Promise<void> {
  const text = (await readFile(path)).toString('latin1')
  const end = text.indexOf('\n\n')
  const header = text.slice(0, end).split(/\n(?![ \t])/).filter((field) => !/^(?:To|Cc): /.test(field))
  const fields = (['To', 'Cc'] as const).flatMap((as) => addressField(as, recipients.filter((one) => one.as === as)))
  await writeWhole(path, Buffer.from(messageText({header, body: text.slice(end + 2)}, fields), 'latin1'))
}

import {type Mail} from '../series/mails.js'
import {personOf} from './message.js'
import {type Complaint} from './rows.js'

/** Control characters, those that turn the direction of writing or have no width, and what could not be decoded. */
const STRANGE = /[\p{Cc}\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffd]/gu

/** What nobody sees in a mail's subject and author, and would be sent all the same. */
export function strangeSubject({subject, where: place}: Pick<Mail, 'subject' | 'where'>): Complaint[] {
  const found = strangeIn(subject)
  return found === undefined ? [] : [{state: 'failed', place, reason: `the subject has ${found} in it: write it without`}]
}

/** The same of a From, which has to name an address as well. */
export function strangeAuthor({author, where: place}: Pick<Mail, 'author' | 'where'>): Complaint[] {
  const found = strangeIn(author)
  if (found !== undefined) return [{state: 'failed', place, reason: `the author's From has ${found} in it: write it without`}]
  return personOf(author) ? [] : [{state: 'failed', place, reason: `the author's From '${author}' has no address: write Name <address>`}]
}

/** `U+001B, which nobody sees,`; undefined where all of a text can be. */
function strangeIn(text: string): string | undefined {
  const found = [...new Set(text.match(STRANGE))]
  if (found.length === 0) return undefined
  const names = found.map((one) => `U+${one.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`)
  return `${names.slice(0, 3).join(', ')}${names.length > 3 ? ' and more' : ''}, which nobody sees,`
}

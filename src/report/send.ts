import {type OutMail} from '../submit/compose.js'
import {type Prepared} from '../submit/prepare.js'
import {plainTable} from './table.js'

/** What became of a series that was to be sent. */
export type Outcome = Pick<Prepared, 'version' | 'recipients' | 'against' | 'notes' | 'tags' | 'tree'> & {
  mails: readonly (Pick<OutMail, 'file' | 'subject' | 'messageId'> & {state: string})[]
  /** Where the mails are. */
  folder: string
  override: string | null
  /** In one sentence. */
  said: string
  kernels: readonly string[]
}

export function sendText({mails, recipients, tags, against, override, notes, folder, said, kernels}: Outcome): string {
  const blocks = [
    plainTable(['mail', 'subject', 'state'], mails.map(({file, subject, state}) => [file, subject, state])),
    plainTable(['as', 'address', 'reason'], recipients.map(({as, name, email, reason}) => [as, name ? `${name} <${email}>` : email, reason])),
    ...(tags.length === 0 ? [] : [plainTable(['tag', 'patch', 'reason'], tags.map(({tag, patch, reason}) => [tag, patch === null ? 'not put' : String(patch), reason]))]),
    ...(kernels.length === 0 ? [] : [`compared on ${kernels.join(', ')}`]),
    ...(notes.length === 0 ? [] : [notes.join('\n')]),
    ...(against.length === 0 ? [] : [[override === null ? 'against sending it:' : `against sending it, overridden (${override}):`, ...against.map((reason) => `  ${reason}`)].join('\n')]),
    `${said}\nthe mails are in ${folder}; 'git am ${folder}/0*.eml' takes them`,
  ]
  return blocks.join('\n\n')
}

export function sendJson(outcome: Outcome, exit: number): string {
  return JSON.stringify({schema: 1, exit, ...outcome}, null, 2)
}

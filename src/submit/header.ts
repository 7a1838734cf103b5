import {InputError} from '../lib/errors.js'
import {type Person} from './message.js'

/** A mail as bytes in a latin1 string: nothing of a diff is lost in it. */
export type Message = {header: string[]; body: string}

/** What a mail of ours may have in its header; anything else came from somebody's text. */
const KNOWN = /^(?:From|Date|Subject|To|Cc|Message-ID|In-Reply-To|References|MIME-Version|Content-Type|Content-Transfer-Encoding): /

/** The longest that an encoded word may be, RFC 2047, less `=?UTF-8?B?` and `?=`, in bytes of text. */
const WORD = 45

/** A mail that `git format-patch` wrote, without the `From ` line of an mbox. */
export function parseMessage(bytes: Buffer): Message {
  const text = bytes.toString('latin1').replace(/^From .*\n/, '')
  const end = text.indexOf('\n\n')
  if (end === -1) throw new TypeError('git format-patch wrote a mail without a body')
  return {header: text.slice(0, end).split(/\n(?![ \t])/), body: text.slice(end + 2)}
}

/**
 * The mail with more fields, its encoding declared where its text needs that.
 *
 * @throws InputError when there is a field that nobody meant to be there
 */
export function messageText({header, body}: Message, fields: readonly string[]): string {
  const declared = header.some((field) => /^Content-Type: /i.test(field))
  const all = [...header, ...fields, ...(isAscii(body) || declared ? [] : MIME)]
  const odd = all.find((field) => !KNOWN.test(field) || /[\r\0]|\n(?![ \t])/.test(field))
  if (odd !== undefined) throw new InputError(`a mail of the series would get the header '${odd.slice(0, 80)}': look at its subjects and addresses`)
  return `${all.join('\n')}\n\n${body}`
}

const MIME = ['MIME-Version: 1.0', 'Content-Type: text/plain; charset=UTF-8', 'Content-Transfer-Encoding: 8bit']

/** A field of addresses, one a line. */
export function addressField(name: string, people: readonly Person[]): string[] {
  return people.length === 0 ? [] : [`${name}: ${people.map(addressText).join(',\n\t')}`]
}

/** `Name <address>`, the name quoted (RFC 5322) or encoded (RFC 2047) where it has to be. */
export function addressText({name, email}: Person): string {
  const words = name.replace(/[\s\p{Cc}]+/gu, ' ').trim()
  if (words === '') return email
  if (!isAscii(words)) return `${encodedWords(words)} <${email}>`
  return /^[\w !#$%&'*+/=?^`{|}~-]+$/.test(words) ? `${words} <${email}>` : `"${words.replace(/["\\]/g, '\\$&')}" <${email}>`
}

function encodedWords(text: string): string {
  const pieces: string[] = []
  for (const character of text) {
    const last = pieces.at(-1)
    if (last !== undefined && Buffer.byteLength(last + character) <= WORD) pieces[pieces.length - 1] = last + character
    else pieces.push(character)
  }
  return pieces.map((piece) => `=?UTF-8?B?${Buffer.from(piece).toString('base64')}?=`).join(' ')
}

export function isAscii(text: string): boolean {
  return /^[\x00-\x7f]*$/.test(text)
}

/** A text of Unicode as the latin1 string of its UTF-8 bytes. */
export function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1')
}

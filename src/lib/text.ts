import {stripVTControlCharacters} from 'node:util'

/** C0 without tab and newline, DEL, C1, and the characters that turn the direction of writing. */
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/**
 * A text of somebody else (a guest, a case.yaml, a bundle) as it may be shown
 * on a terminal: without escape sequences and control characters, which could
 * rewrite what is above them.
 */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/\r\n?/g, '\n').replace(UNPRINTABLE, '\ufffd')
}

/** The source of a regular expression that a text matches as it is. */
export function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

import {stripVTControlCharacters} from 'node:util'

/**
 * A text from a guest as it may be shown on a terminal: without escape
 * sequences and control characters, which could rewrite what is above them.
 */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/\r\n?/g, '\n').replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd')
}

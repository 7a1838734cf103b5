import {type Mail} from '../series/mails.js'

/** A name and an address as a trailer or a header has them. */
export type Person = {name: string; email: string}

/** A line of the end of a commit message, like `Fixes:` or `Signed-off-by:`. */
export type Trailer = {key: string; value: string; /** Its line in the message, from 1. */ line: number}

/** The trailers of a message, wherever they stand: a blank line too many does not hide one. */
export function trailersOf(message: string): Trailer[] {
  return message.split('\n').flatMap((text, index) => {
    const [, key, value] = /^([A-Z][A-Za-z]*(?:-[A-Za-z]+)*):\s+(\S.*)$/.exec(text) ?? []
    return key !== undefined && value !== undefined && TRAILERS.test(key) ? [{key, value: value.trim(), line: index + 1}] : []
  })
}

const TRAILERS = /^(?:fixes|link|closes|cc|message-id|change-id|[a-z-]+-by)$/i

/** `Name <address>`, with or without quotes; undefined where there is no address. */
export function personOf(text: string): Person | undefined {
  const [, name = '', email] = /^\s*"?(.*?)"?\s*<([^<>\s]+@[^<>\s]+)>/.exec(text) ?? []
  if (email !== undefined) return {name, email}
  const [bare] = /^[^<>\s@]+@[^<>\s@]+$/.exec(text.trim()) ?? []
  return bare === undefined ? undefined : {name: '', email: bare}
}

export function isSame(one: Person, other: Person): boolean {
  return one.email.toLowerCase() === other.email.toLowerCase()
}

/** The values of a field of a mail's header, unfolded; encoded words stay as they are. */
export function fieldsOf({raw}: Pick<Mail, 'raw'>, name: string): string[] {
  const text = raw.toString('latin1')
  const end = text.indexOf('\n\n')
  const lines = (end === -1 ? text : text.slice(0, end)).replace(/\n[ \t]+/g, ' ').split('\n')
  const start = `${name.toLowerCase()}:`
  return lines.filter((line) => line.toLowerCase().startsWith(start)).map((line) => line.slice(start.length).trim())
}

/** All addresses of some header fields, in small letters. */
export function addressesOf(fields: readonly string[]): string[] {
  return fields.flatMap((field) => field.match(/[^\s<>,;:"()]+@[^\s<>,;:"()]+/g) ?? []).map((address) => address.toLowerCase())
}

/**
 * What an author wrote below `---`: the lines between that and the diffstat or
 * the diff.
 */
export function notesOf({diff}: Pick<Mail, 'diff'>): string {
  const lines = diff.split('\n')
  if (lines[0] !== '---') return ''
  const end = lines.findIndex((line, index) => index > 0 && (isDiffstat(line) || /^(?:diff --git |--- |Index: )/.test(line)))
  return lines.slice(1, end === -1 ? undefined : end).join('\n').trim()
}

/** ` net/ipv4/route.c | 12 +++---`, ` 1 file changed, ...` */
export function isDiffstat(line: string): boolean {
  return /^ \S.* \|\s+(?:\d+|Bin\b)/.test(line) || /^ \d+ files? changed\b/.test(line)
}

/** What stands in the brackets of a subject: `PATCH net v2 1/3`. */
export type Prefix = {words: string[]; version: number; number?: number; total?: number}

export function prefixOf(subject: string): Prefix {
  const [, inner = ''] = /^\s*(?:re:\s*)?\[([^\]]*)\]/i.exec(subject) ?? []
  const words = inner.split(/[\s,]+/).filter(Boolean)
  const version = words.map((word) => /^v(\d+)$/i.exec(word)?.[1]).find(Boolean)
  const [number, total] = words.map((word) => /^(\d+)\/(\d+)$/.exec(word)).find(Boolean)?.slice(1).map(Number) ?? []
  const rest = words.filter((word) => !/^(?:v\d+|\d+\/\d+)$/i.test(word))
  return {words: rest, version: version === undefined ? 1 : Number(version), ...(number === undefined || total === undefined ? {} : {number, total})}
}

/** `net` of `[PATCH net v2 1/3]`, `next` of `[RFC PATCH next]`; undefined where no tree is named. */
export function treeOf({words}: Prefix): string | undefined {
  return words.find((word) => !/^(?:PATCH|RFC|RESEND|REPOST)$/i.test(word))
}

import {InputError} from '../lib/errors.js'
import {type Patch} from '../series/series.js'
import {isNeeded, type Maintainer} from './maintainers.js'
import {addressesOf, fieldsOf, isSame, type Person, personOf, trailersOf} from './message.js'

/** Who gets the mails, and the reason. */
export type Recipient = Person & {as: 'To' | 'Cc'; reason: string}

export type Wishes = {to: readonly string[]; cc: readonly string[]; exclude: readonly string[]}

/**
 * Everybody who gets every mail of a series: whom the user names, whom the
 * mails name already, whom get_maintainer.pl names, and whom the messages name.
 *
 * @throws InputError when a named address is none, or nobody is left
 */
export function recipientsOf(patches: readonly Patch[], maintainers: readonly Maintainer[], wishes: Wishes): Recipient[] {
  const all: Recipient[] = [
    ...wishes.to.map((text) => ({...given('--to', text), as: 'To' as const, reason: '--to'})),
    ...wishes.cc.map((text) => ({...given('--cc', text), as: 'Cc' as const, reason: '--cc'})),
    ...patches.flatMap((patch) => (['To', 'Cc'] as const).flatMap((as) => addressesOf(fieldsOf(patch, as)).map((email) => ({name: '', email, as, reason: `${as} of ${patch.where}`})))),
    ...maintainers.map((one) => ({name: one.name, email: one.email, as: isMaintainer(one) ? ('To' as const) : ('Cc' as const), reason: one.role})),
    ...patches.flatMap(named),
  ]
  const excluded = wishes.exclude.map((text) => given('--exclude', text))
  const kept = new Map<string, Recipient>()
  for (const one of all) {
    const key = one.email.toLowerCase()
    if (excluded.some((other) => isSame(one, other))) continue
    const before = kept.get(key)
    // The first reason counts, with whatever name is known.
    if (!before) kept.set(key, one)
    else if (before.name === '') kept.set(key, {...before, name: one.name})
  }
  const recipients = [...kept.values()].sort((a, b) => Number(a.as === 'Cc') - Number(b.as === 'Cc'))
  if (recipients.length === 0) throw new InputError('nobody would get these mails: name somebody with --to')
  // A mail that is only Cc'd to people asks nobody.
  return recipients.some(({as}) => as === 'To') ? recipients : recipients.map((one) => ({...one, as: 'To' as const}))
}

function given(option: string, text: string): Person {
  const person = personOf(text)
  if (!person || /[\r\n\0]/.test(text)) throw new InputError(`${option} ${text}: write name@domain or 'Name <name@domain>'`)
  return person
}

function isMaintainer(one: Maintainer): boolean {
  return isNeeded(one) && !/list:|list\)?$/.test(one.role.split(',')[0]!)
}

/** Whom a message names: who reported, suggested, reviewed, helped, and Cc. */
function named({body, where}: Patch): Recipient[] {
  return trailersOf(body).flatMap(({key, value}): Recipient[] => {
    if (!/^(?:cc|reported-by|suggested-by|reviewed-by|acked-by|tested-by|co-developed-by)$/i.test(key)) return []
    const person = personOf(value.replace(/\s+#.*$/, ''))
    return person ? [{...person, as: 'Cc', reason: `${key} of ${where}`}] : []
  })
}

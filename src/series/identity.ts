import {keyOf} from '../lib/hash.js'
import {type Patch, type Series} from './series.js'

/**
 * What a series does to a tree, as a hash: its diffs in order, without words,
 * people, dates and what a diff's header abbreviates. Two series with the same
 * one make the same kernel of the same base.
 */
export function codeOf({patches}: Pick<Series, 'patches'>): string {
  return keyOf(patches.map(codeOfPatch))
}

/** The same of one patch. */
export function codeOfPatch({files}: Pick<Patch, 'files'>): string {
  return keyOf(files)
}

/** All of a series that its readers see: who, subject, words, notes and diffs; the cover letter as well. */
export function textOf({cover, patches}: Series): string {
  const mails = [...cover, ...patches].map(({subject, author, body, diff}) => ({subject, author, body, diff}))
  return keyOf(mails)
}

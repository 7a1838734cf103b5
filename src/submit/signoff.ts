import {type Patch} from '../series/series.js'
import {addressesOf, fieldsOf, isSame, type Person, personOf, type Trailer, trailersOf} from './message.js'
import {type Complaint, type Row, rowsOf} from './rows.js'

/**
 * The chain of Signed-off-by of each patch (Documentation/process/submitting-patches.rst,
 * "Sign your work" and "Co-developed-by"): the author's is there, a co-developer's
 * follows at once, and the last is that of whoever sends the mail.
 *
 * @param own who the user is to git; undefined where git does not know
 */
export function checkSignoffs(patches: readonly Patch[], own: Person | undefined): Row[] {
  return patches.flatMap((patch, index) => rowsOf('signed-off-by', index + 1, signoffComplaints(patch, own)))
}

function signoffComplaints(patch: Patch, own: Person | undefined): Complaint[] {
  const trailers = trailersOf(patch.body)
  const signed = trailers.filter(({key}) => isKey(key, 'signed-off-by'))
  const place = patch.where
  if (signed.length === 0) return [{state: 'failed', place, reason: "no Signed-off-by: 'git commit --signoff' adds yours"}]
  const people = signed.map(({value}) => personOf(value))
  const odd = signed.find((_, index) => people[index] === undefined)
  if (odd) return [{state: 'failed', place, reason: `'Signed-off-by: ${odd.value}' has no address: write Name <address>`}]
  const signers = people as Person[]
  return [...authorComplaints(patch, trailers, signers), ...coDevelopers(trailers, place), ...lastComplaints(patch, signers, own)]
}

function authorComplaints({author, where: place}: Patch, trailers: readonly Trailer[], signers: readonly Person[]): Complaint[] {
  const person = personOf(author)
  // Complained of in the row of its own.
  if (!person) return []
  const at = signers.findIndex((one) => isSame(one, person))
  if (at === -1) {
    const other = signers.find(({name}) => name.toLowerCase() === person.name.toLowerCase())
    if (other) return [{state: 'warned', place, reason: `the author is ${person.email} and signs off as ${other.email}`}]
    return [{state: 'failed', place, reason: `the author ${author} has not signed off`}]
  }
  const helpers = trailers.filter(({key}) => isKey(key, 'co-developed-by')).map(({value}) => personOf(value))
  const early = signers.slice(0, at).find((one) => !helpers.some((helper) => helper && isSame(helper, one)))
  return early ? [{state: 'failed', place, reason: `${early.name || early.email} signs off before the author ${person.name}: the order is the way that the patch took`}] : []
}

function coDevelopers(trailers: readonly Trailer[], place: string): Complaint[] {
  return trailers.flatMap(({key, value}, index): Complaint[] => {
    if (!isKey(key, 'co-developed-by')) return []
    const next = trailers[index + 1]
    const [one, other] = [personOf(value), next && isKey(next.key, 'signed-off-by') ? personOf(next.value) : undefined]
    if (one && other && isSame(one, other)) return []
    return [{state: 'failed', place, reason: `'Co-developed-by: ${value}' is not followed by a Signed-off-by of the same person`}]
  })
}

function lastComplaints(mail: Patch, signers: readonly Person[], own: Person | undefined): Complaint[] {
  const last = signers.at(-1)!
  // Under another address: that was complained of already.
  if (last.name !== '' && last.name.toLowerCase() === personOf(mail.author)?.name.toLowerCase()) return []
  const senders = [...addressesOf(fieldsOf(mail, 'From')), ...(own ? [own.email.toLowerCase()] : [])]
  if (senders.includes(last.email.toLowerCase())) return []
  return [{state: 'failed', place: mail.where, reason: `the last Signed-off-by is that of ${last.name} <${last.email}>, who does not send this mail: whoever sends it signs off last`}]
}

/** What OpenWrt asks of a commit besides: a real name, an address that takes mail, and the author's own sign-off. */
export function checkDco(patches: readonly Patch[]): Row[] {
  return patches.flatMap((patch, index) => rowsOf('dco', index + 1, dcoComplaints(patch)))
}

function dcoComplaints({author, body, where: place}: Patch): Complaint[] {
  const person = personOf(author)
  const signed = trailersOf(body).filter(({key}) => isKey(key, 'signed-off-by')).map(({value}) => value)
  const complaints: Complaint[] = []
  if (!person || !/\S\s+\S/.test(person.name)) complaints.push({state: 'failed', place, reason: `the author '${author}' is no real name: OpenWrt wants given name and surname`})
  if (person && /noreply/i.test(person.email)) complaints.push({state: 'failed', place, reason: `${person.email} takes no mail: OpenWrt wants an address that does`})
  if (!signed.some((value) => value.replaceAll('"', '') === author.replaceAll('"', ''))) {
    complaints.push({state: 'failed', place, reason: `no 'Signed-off-by: ${author}': OpenWrt wants the author's, letter by letter`})
  }
  return complaints
}

function isKey(key: string, wanted: string): boolean {
  return key.toLowerCase() === wanted
}

import {type Patch, type Series} from '../series/series.js'
import {notesOf, prefixOf, treeOf} from './message.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'
import {strangeAuthor, strangeSubject} from './strange.js'

/** The trees that patches of the network go to (MAINTAINERS, the `T:` lines of the subsystems that netdev takes pulls from). */
const TREES = ['net', 'net-next', 'nf', 'nf-next', 'bpf', 'bpf-next', 'ipsec', 'ipsec-next', 'wireless', 'wireless-next', 'iproute2', 'iproute2-next']

/** Most patches of one series, Documentation/process/maintainer-netdev.rst. */
const MOST = 15

/** Most characters of a subject without its prefix, Documentation/process/submitting-patches.rst. */
const LONGEST = 75

const CHANGELOG = /^\s*(?:changes? (?:in|since|from) v?\d+|v\d+(?: *(?:->|→|=>) *v?\d+)?\s*[:(]|v\d+\s*$|changelog\b)/im

/** Whether a series is netdev's: by a tree in its prefix, or by what it touches. */
export function isForNetdev({patches}: {patches: readonly Patch[]}): boolean {
  const paths = patches.flatMap(({files}) => files.map(({path}) => path))
  return patches.some(({subject}) => TREES.includes(treeOf(prefixOf(subject)) ?? '')) || paths.some((path) => /^(?:net|drivers\/net|include\/net|tools\/testing\/selftests\/net)\//.test(path))
}

/** How the mails of a series are named and made up, after submitting-patches.rst and maintainer-netdev.rst. */
export function checkForm(series: Series): Row[] {
  const {patches} = series
  return [
    ...patches.flatMap((patch, index) => rowsOf('from', index + 1, strangeAuthor(patch))),
    ...patches.flatMap((patch, index) => rowsOf('subject', index + 1, subjectComplaints(patch))),
    ...rowsOf('numbering', null, numberingComplaints(series)),
    ...rowsOf('changelog', null, changelogComplaints(series)),
    ...(isForNetdev(series) ? netdevRows(series) : ['netdev-prefix', 'netdev-size', 'netdev-cover'].map((check) => notRun(check, null, 'nothing of the network is touched'))),
  ]
}

function netdevRows(series: Series): Row[] {
  const {patches} = series
  const trees = new Set(patches.map(({subject}) => treeOf(prefixOf(subject))))
  return [
    ...patches.flatMap((patch, index) => rowsOf('netdev-prefix', index + 1, prefixComplaints(patch, trees.size))),
    ...rowsOf('netdev-size', null, patches.length > MOST ? [{state: 'failed', reason: `${patches.length} patches, netdev takes ${MOST} at once: split the series`}] : []),
    ...rowsOf('netdev-cover', null, coverComplaints(series)),
  ]
}

function subjectComplaints(patch: Patch): Complaint[] {
  const {title, subject, where: place} = patch
  const complaints = strangeSubject(patch)
  if (!/^\s*\[[^\]]*PATCH/.test(subject)) complaints.push({state: 'failed', place, reason: `no [PATCH] before '${title}'`})
  if (title.length > LONGEST) complaints.push({state: 'failed', place, reason: `the subject has ${title.length} characters, ${LONGEST} are the most`})
  if (!/^[\w.,/*+ {}-]+: \S/.test(title)) complaints.push({state: 'warned', place, reason: `'${title}' does not begin with a subsystem, like 'ipmr: '`})
  if (title.endsWith('.')) complaints.push({state: 'warned', place, reason: 'the subject ends with a full stop'})
  return complaints
}

function numberingComplaints({cover, patches}: Series): Complaint[] {
  const all = [...cover, ...patches].map((mail) => ({...prefixOf(mail.subject), where: mail.where}))
  const versions = new Set(all.map(({version}) => version))
  if (versions.size > 1) return [{state: 'failed', reason: `mails of several versions: ${[...versions].map((one) => `v${one}`).join(', ')}`}]
  const wrong = all.slice(cover.length).findIndex(({number, total}, index) => (patches.length > 1 || number !== undefined) && (number !== index + 1 || total !== patches.length))
  if (wrong === -1) return []
  const {number, total, where: place} = all[cover.length + wrong]!
  const said = number === undefined ? 'no number' : `${number}/${total}`
  return [{state: 'failed', place, reason: `patch ${wrong + 1} of ${patches.length} says ${said}: a mail is missing, or in another order`}]
}

function changelogComplaints({cover, patches}: Pick<Series, 'cover' | 'patches'>): Complaint[] {
  const complaints: Complaint[] = patches
    .filter(({body}) => CHANGELOG.test(body))
    .map(({where: place}) => ({state: 'failed', place, reason: 'a changelog above the ---, where it would become part of the commit: move it below'}))
  const version = prefixOf(patches[0]!.subject).version
  if (version > 1 && complaints.length === 0 && !hasChangelog({cover, patches})) {
    complaints.push({state: 'failed', reason: `v${version} without a changelog: say below the ---, or in the cover letter, what changed since v${version - 1}`})
  }
  return complaints
}

/** Whether the cover letter, or a note below a ---, says what changed. */
export function hasChangelog({cover, patches}: Pick<Series, 'cover' | 'patches'>): boolean {
  return [...cover.map(({body, diff}) => `${body}\n${diff}`), ...patches.map(notesOf)].some((text) => CHANGELOG.test(text))
}

function prefixComplaints({subject, where: place}: Patch, trees: number): Complaint[] {
  const tree = treeOf(prefixOf(subject))
  if (tree === undefined) return [{state: 'failed', place, reason: 'the subject names no tree: [PATCH net] for fixes, [PATCH net-next] for the rest'}]
  // A backport goes to the stable list (Documentation/process/stable-kernel-rules.rst).
  if (!TREES.includes(tree) && !/^\d+\.\d+\.y$/.test(tree)) return [{state: 'failed', place, reason: `'${tree}' is no tree of the network: net, net-next or a subsystem's (${TREES.slice(2).join(', ')})`}]
  return trees > 1 ? [{state: 'failed', place, reason: 'the patches of the series name different trees'}] : []
}

function coverComplaints({cover, patches}: Series): Complaint[] {
  if (patches.length > 1 && cover.length === 0) return [{state: 'failed', reason: `${patches.length} patches without a cover letter: write one as 0000-cover-letter.patch`}]
  if (cover.length > 1) return [{state: 'failed', place: cover[1]!.where, reason: 'more than one cover letter'}]
  const [letter] = cover
  if (letter && /\*\*\* (?:SUBJECT|BLURB) HERE \*\*\*/.test(letter.subject + letter.body)) return [{state: 'failed', place: letter.where, reason: 'the cover letter is not written yet'}]
  return []
}

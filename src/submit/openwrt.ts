import {type Patch} from '../series/series.js'
import {prefixOf} from './message.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'

/** Characters of a subject, from which on OpenWrt warns and which it takes at the most; and of a line of the message. */
const SUBJECT = {soft: 50, hard: 60}
const LINE = 75

/** The list that takes patches for all of OpenWrt's own projects. */
export const LIST = {name: '', email: 'openwrt-devel@lists.openwrt.org', role: 'open list:OpenWrt'}

/**
 * What OpenWrt asks of a commit besides its sign-off, as its check of pull
 * requests does (check_formalities.sh of openwrt/actions-shared-workflows), of
 * the mails of a project that shares its list, and of a change of firewall4.
 */
export function checkOpenwrt(patches: readonly Patch[]): Row[] {
  return [
    ...patches.flatMap((patch, index) => rowsOf('openwrt-subject', index + 1, subjectComplaints(patch))),
    ...patches.flatMap((patch, index) => rowsOf('openwrt-message', index + 1, messageComplaints(patch))),
    ...patches.flatMap((patch, index) => rowsOf('openwrt-prefix', index + 1, prefixComplaints(patch))),
    testsRow(patches),
  ]
}

/** The rows of checks that are linux's own. */
export function linuxNotRun(): Row[] {
  return ['coccinelle', 'kconfig', 'documentation', 'selftest'].map((check) => notRun(check, null, 'asked of linux, not of firewall4'))
}

function subjectComplaints({title, where: place}: Patch): Complaint[] {
  const complaints: Complaint[] = []
  const limits = `OpenWrt recommends ${SUBJECT.soft} at the most, and takes ${SUBJECT.hard}`
  if (title.length > SUBJECT.soft) complaints.push({state: title.length > SUBJECT.hard ? 'failed' : 'warned', place, reason: `the subject has ${title.length} characters: ${limits}`})
  if (!/^(?:[\w,+/.-]+: )+[a-z]/.test(title) && !title.startsWith('Revert ')) {
    complaints.push({state: 'failed', place, reason: `'${title}' is not of the form 'fw4: do something', with a small letter after the prefix`})
  }
  return complaints
}

function messageComplaints({body, where: place}: Patch): Complaint[] {
  const lines = body.split('\n').filter((line) => !/^[\w-]+-by: /i.test(line))
  if (lines.every((line) => line.trim() === '')) return [{state: 'failed', place, reason: 'no message besides the subject: say why'}]
  const long = lines.filter((line) => line.length > LINE).length
  return long > 0 ? [{state: 'warned', place, reason: `${long} ${long === 1 ? 'line' : 'lines'} of the message with more than ${LINE} characters`}] : []
}

function prefixComplaints({subject, where: place}: Patch): Complaint[] {
  if (prefixOf(subject).words.some((word) => word.toLowerCase() === 'firewall4')) return []
  return [{state: 'warned', place, reason: 'the subject does not name the project: [PATCH firewall4], for the list is that of all of OpenWrt'}]
}

/** firewall4's tests hold what it renders, so a change of that changes them. */
function testsRow(patches: readonly Patch[]): Row {
  const paths = patches.flatMap(({files}) => files.map(({path}) => path))
  const code = paths.find((path) => path.startsWith('root/') && path.endsWith('.uc'))
  if (code === undefined || paths.some((path) => path.startsWith('tests/'))) return rowsOf('openwrt-tests', null, [])[0]!
  return rowsOf('openwrt-tests', null, [{state: 'warned', place: code, reason: 'a change of what is rendered, and nothing of tests/ is touched'}])[0]!
}

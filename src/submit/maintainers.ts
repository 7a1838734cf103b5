import {findProgram} from '../lib/hostpath.js'
import {run} from '../lib/process.js'
import {type Patch} from '../series/series.js'
import {addressesOf, fieldsOf, type Person, personOf} from './message.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'
import {type Scripts} from './scripts.js'

/** Who should get a patch, and why: `maintainer:NETWORKING [GENERAL]`. */
export type Maintainer = Person & {role: string}

const SCRIPT = 'scripts/get_maintainer.pl'

/** Nothing of the history: it is often not there, and who once touched a line need not get mail about it. */
const WORDS = ['--nogit', '--nogit-fallback', '--norolestats', '--roles']

/**
 * Who the tree's own get_maintainer.pl names for some mails.
 *
 * @returns undefined where the tree has no such script, or there is no perl
 */
export async function maintainersOf(signal: AbortSignal, scripts: Scripts, mails: readonly string[]): Promise<Maintainer[] | undefined> {
  if (!scripts.has(SCRIPT) || !(await findProgram('perl'))) return undefined
  const env = {...scripts.env, GIT_DIR: '/nonexistent'}
  const {stdout} = await run('perl', [SCRIPT, ...WORDS, ...mails], {cwd: scripts.folder, signal, env})
  return maintainersIn(stdout)
}

/** `"Name" <address> (role)` or `address (role)`, a line each; the first of an address counts. */
export function maintainersIn(output: string): Maintainer[] {
  const found = new Map<string, Maintainer>()
  for (const line of output.split('\n')) {
    const [, who = '', role = ''] = /^(.*<[^<>]*>|\S+)\s+\((.*)\)$/.exec(line) ?? []
    const person = personOf(who)
    if (person && !found.has(person.email.toLowerCase())) found.set(person.email.toLowerCase(), {...person, role})
  }
  return [...found.values()]
}

/** Whether a maintainer has the last word, or is a list of the subsystem: no mail may leave them out. */
export function isNeeded({role}: Maintainer): boolean {
  return /maintainer:|supporter:|list:/.test(role)
}

/** Whether each patch's To and Cc have everybody whom get_maintainer.pl names. */
export async function checkMaintainers(signal: AbortSignal, scripts: Scripts, patches: readonly Patch[]): Promise<Row[]> {
  const rows: Row[] = []
  for (const [index, patch] of patches.entries()) {
    const maintainers = await maintainersOf(signal, scripts, [scripts.mails[index]!])
    if (!maintainers) return [notRun('maintainers', null, `the tree has no ${SCRIPT}, or perl is not installed`)]
    const there = addressesOf([...fieldsOf(patch, 'To'), ...fieldsOf(patch, 'Cc')])
    if (there.length === 0) rows.push(notRun('maintainers', index + 1, `no To or Cc yet: 'send' asks get_maintainer.pl, which names ${maintainers.length}`))
    else rows.push(...rowsOf('maintainers', index + 1, missingComplaints(maintainers, there, patch.where)))
  }
  return rows
}

function missingComplaints(maintainers: readonly Maintainer[], there: readonly string[], place: string): Complaint[] {
  return maintainers
    .filter(({email}) => !there.includes(email.toLowerCase()))
    .map((one) => ({state: isNeeded(one) ? 'failed' : 'warned', place, reason: `${one.email} (${one.role}) is in neither To nor Cc`}))
}

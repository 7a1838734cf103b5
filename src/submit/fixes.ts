import {git} from '../lib/git.js'
import {type Patch} from '../series/series.js'
import {isForNetdev} from './netdev.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'
import {prefixOf, trailersOf, treeOf} from './message.js'

/** A repository at a commit, as far as questions to its history go. */
export type History = {directory: string; commit: string}

/** Whether there is more than the files: the distribution's source and a tarball are one commit. */
export async function hasHistory(signal: AbortSignal, {directory, commit}: History): Promise<boolean> {
  const {stdout: shallow} = await git(directory, ['rev-parse', '--is-shallow-repository'], {signal})
  const {stdout: count} = await git(directory, ['rev-list', '--count', '--max-count=2', commit], {signal})
  return shallow.trim() === 'false' && Number(count) > 1
}

/**
 * The Fixes tags: whether each names a commit that the tree has, by its subject
 * (submitting-patches.rst, "Using Reported-by, ... and Fixes"); and whether a
 * fix has one, which netdev requires. Elsewhere it may be the address of an issue.
 */
export async function checkFixes(signal: AbortSignal, patches: readonly Patch[], history: History, isLinux = true): Promise<Row[]> {
  const known = await hasHistory(signal, history)
  const none = !patches.some(({body}) => fixesOf(body).length > 0)
  const rows: Row[] = []
  for (const [index, patch] of patches.entries()) {
    const tags = fixesOf(patch.body).filter(({value}) => isLinux || !/^https?:\/\/\S+$/.test(value))
    const complaints = tags.length > 0 ? tags.flatMap(({value}) => formComplaints(value, patch.where)) : missingTag(patch, patches, none)
    if (complaints.length > 0 || tags.length === 0) rows.push(...rowsOf('fixes', index + 1, complaints, tags.length === 0 ? 'no Fixes tag, and none is required' : ''))
    else if (!known) rows.push(notRun('fixes', index + 1, 'the tree has no history in which the commit could be looked up: name a clone with --source'))
    else rows.push(...rowsOf('fixes', index + 1, (await Promise.all(tags.map(async ({value}) => await commitComplaints(signal, history, value, patch.where)))).flat()))
  }
  return rows
}

function fixesOf(body: string) {
  return trailersOf(body).filter(({key}) => key.toLowerCase() === 'fixes')
}

const FORM = /^([\da-f]{12,40}) \("(.*)"\)$/

function formComplaints(value: string, place: string): Complaint[] {
  return FORM.test(value) ? [] : [{state: 'failed', place, reason: `'Fixes: ${value}' is not in the form of 'Fixes: <12 or more digits of the hash> ("<subject>")', on one line`}]
}

async function commitComplaints(signal: AbortSignal, {directory, commit}: History, value: string, place: string): Promise<Complaint[]> {
  const [, hash = '', subject = ''] = FORM.exec(value)!
  const found = await git(directory, ['log', '-1', '--format=%H%n%s', '--end-of-options', hash], {signal, allowedExits: [0, 128]})
  const [full = '', real = ''] = found.stdout.split('\n')
  const inHistory = found.exitCode === 0 && (await git(directory, ['merge-base', '--is-ancestor', full, commit], {signal, allowedExits: [0, 1]})).exitCode === 0
  if (!inHistory) return [{state: 'failed', place, reason: `Fixes: ${hash} is no commit of this tree's history`}]
  if (real.replace(/\s+/g, ' ') !== subject.replace(/\s+/g, ' ')) return [{state: 'failed', place, reason: `Fixes: ${hash} has the subject '${real}', not '${subject}'`}]
  return []
}

/** netdev: "for fixes the Fixes: tag is required, regardless of the tree"; tests may lack it. */
function missingTag(patch: Patch, patches: readonly Patch[], none: boolean): Complaint[] {
  const isFix = ['net', 'nf', 'bpf', 'ipsec', 'wireless'].includes(treeOf(prefixOf(patch.subject)) ?? '')
  const isCode = patch.files.some(({path}) => !/^(?:Documentation|tools\/testing)\//.test(path))
  if (!isFix || !isCode || !isForNetdev({patches})) return []
  const reason = 'no Fixes tag: netdev requires one of a fix (the first commit of the history, where the bug is older)'
  return [{state: none ? 'failed' : 'warned', place: patch.where, reason}]
}

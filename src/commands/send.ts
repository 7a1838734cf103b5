import {readdir, rm, writeFile} from 'node:fs/promises'
import {basename, join, resolve} from 'node:path'
import {type Case, candidateVariant} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {sha256File} from '../lib/hash.js'
import {findProgram} from '../lib/hostpath.js'
import {withLock} from '../lib/lock.js'
import {runTasks} from '../lib/tasks.js'
import {type Outcome, sendJson, sendText} from '../report/send.js'
import {textOf} from '../series/identity.js'
import {type Commands} from '../submit/gate.js'
import {beginJournal, isSent, type Journal, journalsFolder, journalsOf, type Owner, settle} from '../submit/journal.js'
import {type Person, personOf} from '../submit/message.js'
import {prepare, type Prepared, type SendInput} from '../submit/prepare.js'
import {sendJournal, withoutRecipients} from '../submit/send.js'
import {handOver, needSendEmail} from '../submit/smtp.js'
import {stateFolder} from '../lib/state.js'
import {refuseIdle} from './options.js'
import {chosenLine, chosenSubmission, ownPerson, type SubmissionOptions} from './submission.js'

export type SendOptions = SubmissionOptions & {
  send?: boolean
  toReview?: boolean
  dryRun?: boolean
  resume?: boolean
  arrived: number[]
  lost: number[]
  rerollCount?: number
  previous?: string
  inReplyTo?: string
  to: string[]
  cc: string[]
  exclude: string[]
  tags?: string
  sloppyTrailers?: boolean
  results: string[]
  bundle?: string
  override?: string
  output?: string
  json?: boolean
}

/** `patchbench send CASE`: the mails of a series; only --send sends them. */
export async function sendCommand(context: Context, name: string, options: SendOptions): Promise<{text: string; exit: number}> {
  checkWays(options)
  checkIdle(options)
  const {one, candidate, line} = await chosenLine(name, options)
  const owner = {case: one.name, candidate: candidate.name, line}
  const own = async (task: Context) => (options.resume ? await resume(task, owner, options) : await prepareAndSend(task, name, owner, options))
  // One at a time: nobody else may send while it is decided what is left to send.
  const locked = async (task: Context) => await withLock(`${journalsFolder(owner)}.lock`, task.signal, async () => await own(task), () => task.progress('waiting: another patchbench sends this series'))
  const [outcome] = await runTasks(context, [{title: `${candidate.name} of ${one.name}`, run: locked}])
  const refused = outcome!.against.length > 0 && outcome!.override === null
  const exit = refused ? EXIT.missed : EXIT.ok
  return {text: options.json ? sendJson(outcome!, exit) : sendText(outcome!), exit}
}

function checkWays({send, toReview, dryRun, resume, arrived, lost, override, bundle}: SendOptions): void {
  const ways = [send && '--send', toReview && '--to-review', dryRun && '--dry-run', resume && '--resume'].filter(Boolean)
  if (ways.length > 1) throw new InputError(`${ways.join(' and ')} are different things: name one of them`)
  if (!resume && arrived.length + lost.length > 0) throw new InputError('--arrived and --lost are about a series that is half sent: they go with --resume')
  if (override !== undefined && override.trim() === '') throw new InputError('--override needs a reason, which the mails will say')
  if (bundle === '') throw new InputError('--bundle needs a file')
}

/** Of a series that is half sent, the mails are what they are. */
function checkIdle({resume, send, output, tags, sloppyTrailers, rerollCount, previous, inReplyTo, to, cc, results, bundle}: SendOptions): void {
  if (tags === undefined) refuseIdle({sloppyTrailers}, 'is about --tags, which is missing')
  // What says which series is meant may stand: one repeats the command, and adds --resume.
  const making = {rerollCount, previous, inReplyTo, to, cc, tags, results, bundle}
  if (resume) refuseIdle(making, 'is about making mails, and --resume sends those that are made: leave it out')
  if (send || resume) refuseIdle({output}, 'is about mails that are not sent: leave it out')
}

async function prepareAndSend(context: Context, name: string, owner: Owner, options: SendOptions): Promise<Outcome> {
  const sender = await ownPerson(context)
  if (!sender) throw new InputError("git does not know who you are: 'git config --global user.name' and user.email")
  const {one, series, source} = await chosenSubmission(context, name, options)
  const journals = await journalsOf(owner)
  if (options.send) checkUnsent(journals, textOf(series))
  const prepared = await prepare(context, {
    ...{owner, title: one.title, series, source, sender, journals, commands: commandsFor(one, owner, {...options, hasUcode: (await findProgram('ucode')) !== undefined}), inReplyTo: messageId(options.inReplyTo), override: options.override},
    ...{version: options.rerollCount, previous: options.previous, results: options.results.map((folder) => resolve(folder))},
    wishes: {to: options.to, cc: options.cc, exclude: options.exclude},
    tags: options.tags === undefined ? undefined : {mbox: options.tags, sloppy: options.sloppyTrailers ?? false},
    bundle: options.bundle === undefined ? undefined : {name: basename(options.bundle), sha256: await sha256File(options.bundle)},
  } satisfies SendInput)
  const isHeld = prepared.against.length > 0 && options.override === undefined
  if (options.send && !isHeld) return await send(context, owner, {prepared, sender, text: textOf(series)}, options)
  const folder = await writeMails(prepared, owner, options.output)
  if (options.toReview && !isHeld) await rehearse(context, prepared, sender, folder)
  return outcomeOf(prepared, folder, options, saidOf(isHeld, options))
}

/** What the user would write to check and compare the series; where ucode is not on PATH, compare has to be told of it. */
export function commandsFor(one: Pick<Case, 'name' | 'tree'>, {candidate, line}: Pick<Owner, 'candidate' | 'line'>, {cases, source, base, hasUcode}: Pick<SendOptions, 'cases' | 'source' | 'base'> & {hasUcode: boolean}): Commands {
  const words = [one.name, ...(cases ? ['--cases', cases] : []), '--candidate', candidate]
  const own = ['--kernel', line]
  const from = source === undefined ? own : ['--source', source, ...(base === undefined ? [] : ['--base', base])]
  const ucode = one.tree === 'firewall4' && !hasUcode ? ['--ucode', 'PATH'] : []
  const variants = ['--variant', `base,${candidateVariant(one)}`]
  const checked = source === undefined || one.tree !== 'linux' ? from : [...own, ...from]
  return {check: ['patchbench', 'check', ...words, ...checked].join(' '), compare: ['patchbench', 'compare', ...words, ...variants, ...from, ...ucode].join(' ')}
}

function saidOf(isHeld: boolean, {send: wanted, toReview}: SendOptions): string {
  if (isHeld) return wanted || toReview ? 'nothing was sent: it is not ready (or: --override "reason")' : 'nothing was sent: a dry run, and it is not ready'
  return toReview ? "nothing was sent: git send-email would take the mails, and '--send' sends them" : "nothing was sent: a dry run; '--send' sends the mails"
}

function checkUnsent(journals: readonly Journal[], text: string): void {
  const open = journals.find((one) => !isSent(one))
  if (open) throw new InputError(`v${open.version} is half sent: send the rest of it with --resume`)
  const same = journals.find(({series}) => series === text)
  if (same) throw new InputError(`exactly this series was sent as v${same.version} on ${same.mails.at(-1)!.at?.slice(0, 10)}: nothing is sent twice`)
}

async function send(context: Context, owner: Owner, {prepared, sender, text}: {prepared: Prepared; sender: Person; text: string}, options: SendOptions): Promise<Outcome> {
  await needSendEmail(context.signal)
  const begun = await beginJournal(owner, {version: prepared.version, series: text, sender, recipients: prepared.recipients}, prepared.mails)
  const done = await sendJournal(context, begun)
  return {...outcomeOf(prepared, done.folder, options, sentText(done)), mails: done.mails}
}

async function resume(context: Context, owner: Owner, {arrived, lost, exclude, override}: SendOptions): Promise<Outcome> {
  const open = (await journalsOf(owner)).find((one) => !isSent(one))
  if (!open) throw new InputError(`no series of ${owner.candidate} of ${owner.case} is half sent: there is nothing to resume`)
  const people = exclude.map((text) => personOf(text) ?? {name: '', email: text})
  const settled = await withoutRecipients(await settle(open, arrived, lost), people)
  const {version, recipients, mails, folder} = await sendJournal(context, settled)
  const facts = {version, recipients, mails, folder, against: [], notes: [], tags: [], tree: '', kernels: []}
  return {...facts, override: override ?? null, said: sentText({mails})}
}

function sentText({mails}: Pick<Journal, 'mails'>): string {
  return `${mails.length === 1 ? 'the mail was' : `all ${mails.length} mails were`} sent`
}

/** The mails as files: in a folder of ours that holds the last ones, or in the user's, which must be empty. */
async function writeMails({mails, version}: Prepared, owner: Owner, output: string | undefined): Promise<string> {
  const folder = output === undefined ? join(stateFolder(), 'mails', owner.case, `${owner.candidate}-${owner.line}-v${version}`) : resolve(output)
  if (output === undefined) await rm(folder, {recursive: true, force: true})
  await makeFolder(folder)
  if ((await readdir(folder)).length > 0) throw new InputError(`--output ${folder} is not empty: name a new folder, so that no mails are mixed`)
  for (const {file, text} of mails) await writeFile(join(folder, file), text)
  return folder
}

/** Everything but the sending, by git send-email itself. */
async function rehearse(context: Context, {mails, recipients}: Prepared, sender: Person, folder: string): Promise<void> {
  await needSendEmail(context.signal)
  for (const {file, subject} of mails) {
    const handed = await handOver(context.signal, {file: join(folder, file), sender, recipients, dryRun: true})
    if (handed.state !== 'sent') throw new InputError(`git send-email would not take '${subject}': ${handed.words}`)
  }
}

function outcomeOf(prepared: Prepared, folder: string, {override}: SendOptions, said: string): Outcome {
  const {version, recipients, against, notes, tags, tree, evidence} = prepared
  const mails = prepared.mails.map(({file, subject, messageId: id}) => ({file, subject, messageId: id, state: 'written'}))
  return {version, recipients, against, notes, tags, tree, mails, folder, override: override ?? null, said, kernels: evidence.map(({kernel}) => kernel)}
}

/** `<id@host>`, with or without what stands around it. */
function messageId(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const [, id] = /^<?([^<>\s]+@[^<>\s]+)>?$/.exec(text.trim()) ?? []
  if (id === undefined) throw new InputError(`--in-reply-to ${text} is no message-id, like <20261120.1@example.org>`)
  return `<${id}>`
}

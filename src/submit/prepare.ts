import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {codeOf, textOf} from '../series/identity.js'
import {readSeries, type Series} from '../series/series.js'
import {applySeries} from '../tree/apply.js'
import {type Source} from '../tree/source.js'
import {statedIn} from './applies.js'
import {compose, hasCover, type Letter, MADE, type OutMail} from './compose.js'
import {type Bundle, type Evidence, evidenceOf, evidenceText} from './evidence.js'
import {type Commands, reasonsAgainst} from './gate.js'
import {isSent, type Journal, type Owner} from './journal.js'
import {type Maintainer, maintainersOf} from './maintainers.js'
import {type Person, prefixOf} from './message.js'
import {hasChangelog} from './netdev.js'
import {LIST} from './openwrt.js'
import {lastCheck} from './record.js'
import {type Recipient, recipientsOf, type Wishes} from './recipients.js'
import {type Tag, tagsOf} from './replies.js'
import {withScripts} from './scripts.js'
import {strangeAuthor, strangeSubject} from './strange.js'

export type SendInput = {
  owner: Owner
  /** What the case is about. */
  title: string
  series: Series
  source: Source
  sender: Person
  /** What was sent before, the first version first. */
  journals: readonly Journal[]
  /** --reroll-count. */
  version: number | undefined
  /** The version before, where no journal has it: an mbox or a folder. */
  previous: string | undefined
  inReplyTo: string | undefined
  wishes: Wishes
  tags: {mbox: string; sloppy: boolean} | undefined
  /** Folders of runs; the last ones where none is named. */
  results: readonly string[]
  bundle: Bundle | undefined
  /** Why it is sent in spite of what speaks against it. */
  override: string | undefined
  /** The commands that check and compare this series. */
  commands: Commands
}

/** A series ready to be sent, and what speaks against that. */
export type Prepared = {
  version: number
  mails: OutMail[]
  recipients: Recipient[]
  tags: Tag[]
  evidence: Evidence[]
  /** Why it should not be sent as it is. */
  against: string[]
  notes: string[]
  /** The tree of the base with the series, which the mails give again. */
  tree: string
}

/**
 * Makes the mails of a series and reads them back: `git am` takes them to the
 * same tree.
 *
 * @throws InputError when the series does not apply
 */
export async function prepare(context: Context, input: SendInput): Promise<Prepared> {
  const {series, source, owner, journals} = input
  const {signal} = context
  checkSeen(series)
  context.progress(`applying to ${source.label}`)
  const applied = await applyTo(context, series, source)
  if (!applied) throw new InputError(`the series does not apply to ${source.label}: '${input.commands.check}' says where`)
  const version = versionOf(series, journals, input.version)
  context.progress('asking get_maintainer.pl')
  const maintainers = await withScripts(context, source, series.patches, async (scripts): Promise<Maintainer[]> => (await maintainersOf(signal, scripts, scripts.mails)) ?? [])
  const recipients = recipientsOf(series.patches, source.tree === 'firewall4' ? [LIST] : maintainers, input.wishes)
  const sent = journals.flatMap(({mails}) => mails.map(({messageId, subject, code}) => ({messageId, title: subject.replace(/^(?:\s*\[[^\]]*\])+\s*/, ''), code})))
  const tags = input.tags ? await tagsOf(signal, input.tags.mbox, series, sent, input.tags.sloppy) : []
  const evidence = await evidenceOf({case: owner.case, candidate: owner.candidate, code: codeOf(series)}, input.results)
  const before = await previousOf(context, input, version)
  const {text: changelog, unwritten} = changelogOf(series, version, before?.journal)
  const against = reasonsAgainst({commands: input.commands, check: await lastCheck(series), evidence, unwritten})
  const sections = [changelog, await evidenceText(owner.case, evidence, input.bundle), overrideText(against, input.override)].filter(Boolean)
  context.progress('making the mails')
  const mails = await compose(signal, {
    ...{series, directory: source.directory, base: source.commit, commit: applied.commit, sender: input.sender, version, recipients, sections},
    publicBase: 'git' in source.origin ? source.commit : undefined,
    slug: statedIn(series).changeId ?? `${owner.case}-${owner.candidate}`,
    previous: before?.commit,
    inReplyTo: input.inReplyTo,
    tags: tagsByPatch(series, tags),
    title: input.title,
  } satisfies Letter)
  context.progress('reading the mails back')
  if ((await treeOf(context, mails, source)) !== applied.tree) throw new CouldNotRun('git am makes another tree of the mails than of the series: please report this')
  const notes = [
    ...(maintainers.length === 0 && source.tree === 'linux' ? [`${source.label} has no get_maintainer.pl that could be asked`] : []),
    ...(before?.notes ?? []),
    ...otherBase(series, source),
    ...lateTags(series, journals, tags),
  ]
  return {version, mails, recipients, tags, evidence, against, notes, tree: applied.tree}
}

/** The mails state the base that their author wrote, whatever they were tried on. */
function otherBase(series: Series, {commit, label}: Source): string[] {
  const {base} = statedIn(series)
  if (base === undefined || base === commit) return []
  return [`the series states base-commit ${base.slice(0, 12)}, and was tried on ${label} (${commit.slice(0, 12)}): --source names a git tree that has the stated one`]
}

/** Tags that were collected for what was sent already go nowhere by themselves. */
function lateTags(series: Series, journals: readonly Journal[], tags: readonly Tag[]): string[] {
  const same = journals.find((one) => one.series === textOf(series))
  if (!same || !tags.some(({patch}) => patch !== null)) return []
  return [`exactly this series was sent as v${same.version}, and is not sent twice: its tags are in these files alone; whoever applies v${same.version} collects them, and a next version has them by --tags`]
}

/** A mail that looks otherwise than it is is not made, whatever is overridden. */
function checkSeen({cover, patches}: Series): void {
  const [first] = [...[...cover, ...patches].flatMap(strangeSubject), ...patches.flatMap(strangeAuthor)]
  if (first) throw new InputError(`${first.place}: ${first.reason}; no mail is made of it`)
}

async function applyTo(context: Context, series: Series, {directory, commit: base, label}: Source): Promise<{commit: string; tree: string} | undefined> {
  const {commit, tree} = await applySeries(context, series, {git: directory, base, where: label})
  return commit === null || tree === null ? undefined : {commit, tree}
}

/** The tree that the mails give, as their reader applies them. */
async function treeOf(context: Context, mails: readonly OutMail[], source: Source): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-mails-'))
  try {
    for (const {file, text} of mails) await writeFile(join(folder, file), text)
    return (await applyTo(context, await readSeries(context.signal, [folder]), source))?.tree
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

/**
 * Which version is sent: the one that the user names, else that of the
 * subjects, else the next after what was sent.
 */
export function versionOf(series: Series, journals: readonly Journal[], wanted: number | undefined): number {
  const last = journals.at(-1)
  const own = prefixOf(series.patches[0]!.subject).version
  const same = journals.find((one) => one.series === textOf(series))
  if (wanted === undefined) return same ? same.version : last ? Math.max(own, last.version + 1) : own
  const taken = journals.find((one) => one.version === wanted)
  if (taken && taken !== same) throw new InputError(`v${wanted} was ${isSent(taken) ? '' : 'partly '}sent, and was another series: the next is v${last!.version + 1}`)
  return wanted
}

type Before = {commit: string | undefined; journal: Journal | undefined; notes: string[]}

/** The version before, as commits on the same base; said where it does not apply there. */
async function previousOf(context: Context, {journals, previous, source}: SendInput, version: number): Promise<Before | undefined> {
  const journal = journals.findLast((one) => one.version < version)
  const path = previous ?? journal?.folder
  if (path === undefined) return version > 1 ? {commit: undefined, journal: undefined, notes: ['no range-diff: the version before is not known here, name it with --previous']} : undefined
  const applied = await applyTo(context, await readSeries(context.signal, [path]), source)
  const notes = applied ? [] : [`no range-diff: the version before does not apply to ${source.label}`]
  return {commit: applied?.commit, journal, notes}
}

/** The skeleton of a changelog where the author wrote none, and what is missing then. */
function changelogOf(series: Series, version: number, before: Journal | undefined): {text: string; unwritten: string[]} {
  const where = series.cover[0]?.where ?? (hasCover(series) ? '0000-cover-letter.patch' : `${series.patches[0]!.where}, below the ---`)
  const letter = hasCover(series) && series.cover.length === 0 ? ['the cover letter is not written: put it beside the patches as 0000-cover-letter.patch'] : []
  if (version === 1 || hasChangelog(series)) return {text: '', unwritten: letter}
  const link = before ? [`- v${before.version} was ${before.mails[0]!.messageId}`] : []
  const text = [`Changes in v${version}:`, '- EDITME: what changed, and why', ...link].join('\n')
  return {text, unwritten: [...letter, `the changelog of v${version} is not written: begin with 'Changes in v${version}:' in ${where}`]}
}

function overrideText(against: readonly string[], override: string | undefined): string {
  if (override === undefined || against.length === 0) return ''
  const oneLine = (text: string) => text.replace(/[\s\p{Cc}]+/gu, ' ').trim()
  return [MADE[1], ...against.map((reason) => `  - ${oneLine(reason)}`), `because: ${oneLine(override)}`].join('\n')
}

function tagsByPatch({patches}: Series, tags: readonly Tag[]): string[][] {
  return patches.map((_, index) => tags.filter(({patch}) => patch === index + 1).map(({tag}) => tag))
}

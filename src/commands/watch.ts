import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {availableParallelism, tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {withWork} from '../author/series.js'
import {type Turn, watchCase} from '../author/watch.js'
import {type Editing} from '../author/worktree.js'
import {candidateVariant, type Case, loadCase} from '../case/case.js'
import {casesFolder} from '../case/folder.js'
import {forget} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {printable} from '../lib/text.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {type Accelerator} from '../machine/qemu.js'
import {changesBetween} from '../report/changes.js'
import {comparisonJson} from '../report/json.js'
import {comparisonTable} from '../report/table.js'
import {type Firewall4} from '../ruleset/firewall4.js'
import {compare, type Comparison, type KeptSession, type Target} from '../run/compare.js'
import {type Result} from '../run/results.js'
import {exitCodeOf} from '../verdict/exit.js'
import {type Variant} from '../verdict/verdict.js'
import {checkNames, type CompareOptions, targetsFor, useColour, withFixes, withParameters} from './compare.js'
import {chosenFirewall4} from './firewall4.js'
import {buildBases} from './kernels.js'
import {checkFixes} from './options.js'
import {runFolder} from './runfolder.js'

export type WatchOptions = Omit<CompareOptions, 'repeat' | 'keepGoing' | 'trace'>

/** `patchbench watch CASE`: compares, and again after every save, until it is interrupted. */
export async function watchCommand(context: Context, name: string, options: WatchOptions, command: string): Promise<never> {
  const cases = options.cases === undefined ? await casesFolder() : resolve(options.cases)
  const load = async () => withParameters(withFixes(await loadCase(name, cases), options), options.set)
  const all = await loadCase(name, cases)
  checkNames('--livepatch', options.livepatch, all.livepatches)
  checkNames('--candidate', options.candidate, all.candidates)
  if (options.variant) checkFixes([all], options.variant, options)
  await load()
  const {path: folder, giveUp} = await runFolder(options.output, new Date())
  const scratch = await mkdtemp(join(tmpdir(), 'patchbench-watch-'))
  const round = rounds(folder, scratch, options)
  let before: readonly Result[] = []
  const say = (text: string) => void process.stdout.write(`${printable(text)}\n`)
  const onTurn = async (turn: Turn) => {
    const results = turn.comparison?.results
    const changes = results && before.length > 0 ? changesBetween(before, results) : []
    if (results) before = results
    if (turn.comparison) await writeFile(join(folder, 'results.json'), `${comparisonJson(turn.comparison, {folder, exit: exitCodeOf(turn.comparison.results), date: new Date().toISOString(), command, accelerator: round.accelerator()})}\n`)
    say(options.json ? turnJson(turn, changes) : turnText(turn, changes))
  }
  const onCancel = (changed: readonly string[]) => context.progress(`${changed.join(', ')} changed in the meantime: beginning again`)
  try {
    if (!options.json) say(`watching ${name}; Ctrl-C ends it, evidence is in ${folder}`)
    return await watchCase(context, {file: join(cases, name, 'case.yaml'), load, compare: round.compare, onTurn, onCancel})
  } finally {
    await rm(scratch, {recursive: true, force: true})
    await giveUp()
  }
}

/** What stays from one comparison to the next: the kernels, and the sessions that nothing has changed for. */
function rounds(folder: string, scratch: string, options: WatchOptions) {
  const kept = new Map<string, KeptSession>()
  const worked: Worked[] = []
  let known: {about: string; targets: Target[]; firewall4?: Firewall4} | undefined
  let accelerator: Accelerator | undefined
  const run = async (context: Context, loaded: Case, editing: Editing | undefined): Promise<Comparison> => {
    const variant = options.variant ?? variantsFor(loaded, editing)
    const followed = editing && variant.includes('patched') ? await withWork(context.signal, loaded, editing, join(scratch, 'series')) : loaded
    // Of the candidates the one that is worked on, where none is named.
    const one = options.candidate || !editing ? followed : {...followed, candidates: followed.candidates.filter((candidate) => candidate.name === editing.candidate)}
    const about = JSON.stringify([one.kernels, one.kconfig, variant])
    if (known?.about !== about) {
      const {options: others, firewall4} = await chosenFirewall4(context, [one], {...options, variant: [...variant], repeat: 1, trace: false, keepGoing: true})
      known = {about, targets: await targetsFor(context, [one], others), ...(firewall4 ? {firewall4} : {})}
    }
    const targets = known.targets.map((target) => ({...target, one}))
    await buildBases(context, targets)
    accelerator ??= (await chooseAccelerator(context, options.accel, targets[0]!.kernel)).accelerator
    const {firewall4} = known
    const rest = {...(options.root ? {rootTar: resolve(options.root)} : {}), ...(firewall4 ? {firewall4} : {})}
    const comparison = await compare(context, {targets, repeats: 1, jobs: options.jobs ?? availableParallelism(), keepGoing: true, trace: false, accelerator, folder, kept, ...rest})
    if (editing) await forgetOld(context, worked, kept)
    return comparison
  }
  return {compare: run, accelerator: () => accelerator ?? ''}
}

/** A kernel that was built of work in progress, and the machine that booted it. */
type Worked = {kernel: string; snapshot: string}

/** How many kernels of work in progress are left in the cache: each is some 300 MB, and hardly ever wanted again. */
const WORKED = 3

async function forgetOld(context: Context, worked: Worked[], kept: ReadonlyMap<string, KeptSession>): Promise<void> {
  for (const {record, kernel, snapshot} of kept.values()) {
    const at = worked.findIndex((one) => one.kernel === kernel)
    if (record.candidate === null || at === 0) continue
    if (at > 0) worked.splice(at, 1)
    worked.push({kernel, snapshot})
  }
  // The first is of the series as it was found, which others compare too.
  for (const {kernel, snapshot} of worked.splice(1, Math.max(0, worked.length - 1 - WORKED))) {
    await forget(context, 'patched', kernel)
    await forget(context, 'snapshot', snapshot)
  }
}

/** Who edits a series wants a verdict on that, and who has no livepatch on the candidates. */
function variantsFor(one: Case, editing: Editing | undefined): readonly Variant[] {
  const {livepatches, candidates} = one
  if (editing || (livepatches.length === 0 && candidates.length > 0)) return ['base', candidateVariant(one)]
  return livepatches.length > 0 ? ['base', 'livepatched', 'reverted'] : ['base']
}

function turnText({number, changed, comparison, error, seconds}: Turn, changes: readonly string[]): string {
  const what = changed.length > 4 ? `${changed.slice(0, 4).join(', ')} and ${changed.length - 4} more` : changed.join(', ')
  const head = number === 1 ? [] : ['', `${new Date().toTimeString().slice(0, 8)}  ${what} changed`]
  const body = comparison ? comparisonTable(comparison.results, useColour()) : error!
  const news = changes.length > 0 ? ['', ...changes] : number > 1 && comparison ? ['', 'the same as before'] : []
  return [...head, body, ...news, `(${seconds.toFixed(1)} s)`].join('\n')
}

/** One document a line, so that a reader sees each when it comes. */
function turnJson({number, changed, comparison, error, seconds}: Turn, changes: readonly string[]): string {
  const exit = comparison ? exitCodeOf(comparison.results) : null
  const sessions = comparison?.pairs.flatMap((pair) => pair.sessions) ?? []
  return JSON.stringify({schema: 1, turn: number, changed, seconds, exit, error: error ?? null, changes, results: comparison?.results ?? [], sessions})
}

import {stat} from 'node:fs/promises'
import {relative} from 'node:path'
import {importSeries, type Imported, nameFor, type Tried} from '../author/import.js'
import {caseFiles} from '../author/casefiles.js'
import {findSeries, type Found, statedBase} from '../author/mails.js'
import {checkNewName, homeOfNewCase, writeCase} from '../author/newcase.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {printable} from '../lib/text.js'
import {applyText} from '../report/apply.js'
import {type Source, sourceTree} from '../tree/source.js'
import {hasCommit} from '../tree/tree.js'
import {checkSource, chosenSources, linesOf} from './kernels.js'

export type ImportCommandOptions = {
  name?: string
  candidate: string
  /** A git tree of the user's that a range is taken from. */
  git?: string
  kernel?: string
  source?: string
  base?: string
  refresh?: boolean
  cases?: string
  json?: boolean
}

/** `patchbench import SERIES...`: a case of one's own from a series; nothing is made where it applies nowhere. */
export async function importCommand(context: Context, words: readonly string[], options: ImportCommandOptions): Promise<{text: string; exit: number}> {
  checkSource(options)
  const home = await homeOfNewCase(options.cases)
  // A name that is taken is told before anything is fetched.
  if (options.name !== undefined) await checkNewName(home, options.name, '--name')
  if (!/^[a-z0-9][a-z0-9-]*$/.test(options.candidate)) throw new InputError(`--candidate ${options.candidate}: take small letters, digits and hyphens`)
  const found = await findSeries(context.signal, words, options.git)
  const name = nameFor(options.name, words, found)
  await checkNewName(home, name, '--name')
  const sources = await sourcesFor(context, found, options)
  const {tried, made} = await importSeries(context, {found, sources, home, name, candidate: options.candidate})
  const exit = made ? EXIT.ok : EXIT.missed
  if (options.json) {
    const lines = tried.map(({line, label, fits, why}) => ({line, source: label, applies: fits, why}))
    return {text: JSON.stringify({schema: 1, case: made?.name ?? null, tried: lines, ...made}, null, 2), exit}
  }
  return {text: printable(made ? madeText(made, tried) : refusedText(tried)), exit}
}

/** `patchbench case new NAME`: a case to start from, without a series. */
export async function newCaseCommand(name: string, options: {title?: string; kernel?: string; cases?: string; json?: boolean}): Promise<{text: string; exit: number}> {
  const home = await homeOfNewCase(options.cases)
  await checkNewName(home, name)
  const kernels = linesOf(options)
  const wrong = kernels.find((line) => !/^\d+\.\d+$/.test(line))
  if (wrong !== undefined) throw new InputError(`--kernel ${wrong}: a case is for kernel lines, like 6.12`)
  const title = options.title ?? `${name}: write what goes wrong`
  const folder = await writeCase(home, name, await caseFiles(name, {title, tree: 'linux', kernels}))
  const settings = home.settings ?? null
  if (options.json) return {text: JSON.stringify({schema: 1, case: name, folder, settings, title, lines: kernels}, null, 2), exit: EXIT.ok}
  return {text: [`${name} is in ${shown(folder)}`, ...settingsLines(settings), ...nextSteps(name, folder, 'livepatched')].join('\n'), exit: EXIT.ok}
}

/** The sources that a series is tried on: where it comes from, and the lines and trees that were named. */
async function sourcesFor(context: Context, {series, range}: Found, options: ImportCommandOptions): Promise<Source[]> {
  const own = range ? [await sourceTree(context, {tree: 'linux', from: options.git ?? range.git, base: range.base, option: '--git'})] : []
  const isNamed = options.source !== undefined || options.kernel !== undefined
  if (range && !isNamed) return own
  const base = options.base ?? (await statedBaseIn(context, statedBase(series), options.source))
  return [...own, ...(await chosenSources(context, linesOf(options), {...options, ...(base === undefined ? {} : {base})}))]
}

/** The commit that the mails state, where a git folder has it. */
async function statedBaseIn({signal}: Context, base: string | undefined, source: string | undefined): Promise<string | undefined> {
  if (base === undefined || source === undefined || !(await stat(source).catch(() => undefined))?.isDirectory()) return undefined
  return (await hasCommit(signal, source, base)) ? base : undefined
}

function madeText({name, folder, settings, title, patches, notes, files, options, lacking, modules, unbuilt}: Imported, tried: readonly Tried[]): string {
  const lines = [`${name}: ${title}`, `  made ${shown(folder)} of ${patches.length === 1 ? '1 patch' : `${patches.length} patches`}`]
  lines.push(...notes.map((note) => `  note: ${note}`))
  lines.push(...tried.map(({label, fits, why}) => (fits ? `  applies to ${label}` : `  is not for ${label}: ${why}`)))
  lines.push(`  files: ${files.join(', ')}`)
  if (options.length > 0) lines.push(`  built under ${options.map(({symbol}) => symbol).join(', ')} (guessed)`)
  if (lacking.length > 0) lines.push(`  ${name}.config asks for ${lacking.map(({symbol}) => symbol).join(', ')}, which kconfigs/ does not: kernels for this case are built apart`)
  if (modules.length > 0) lines.push(`  on stock kernels its code may be in ${modules.join(', ')}`)
  if (unbuilt.length > 0) lines.push(`  no Makefile builds ${unbuilt.join(', ')} (guessed): a kernel with the series may be the same without ${unbuilt.length === 1 ? 'it' : 'them'}`)
  return [...lines, ...settingsLines(settings), ...nextSteps(name, folder, 'patched')].join('\n')
}

function settingsLines(settings: string | null): string[] {
  return settings === null ? [] : [`  made ${shown(settings)}: patchbench finds the cases of this folder from here on`]
}

function nextSteps(name: string, folder: string, variant: string): string[] {
  const steps = [`  write its reproducer: ${shown(folder)}/reproduce, and the tests in case.yaml`, `  then: patchbench watch ${name}`]
  return variant === 'patched' ? ['', ...steps, `        patchbench compare ${name} --variant base,patched`] : ['', ...steps, `        patchbench compare ${name}`]
}

function refusedText(tried: readonly Tried[]): string {
  const reports = tried.map(({applied}) => applyText(applied))
  const where = tried.map(({label, why}) => `${label} (${why})`).join(', ')
  return [...reports, '', `nothing was made: the series is not for ${where}; name other lines by --kernel, or the tree that it is for by --source`].join('\n')
}

/** As the user would write it. */
function shown(path: string): string {
  const near = relative(process.cwd(), path)
  return near === '' || near.startsWith('..') ? path : near
}

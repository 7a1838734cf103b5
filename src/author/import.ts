import {basename, extname, join} from 'node:path'
import {builtKernel, configAtHand, FRAGMENTS} from '../kernel/built.js'
import {readFragments} from '../kernel/fragment.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {type Series} from '../series/series.js'
import {applySeries, type Applied} from '../tree/apply.js'
import {type Source} from '../tree/source.js'
import {entriesOf, readBlob} from '../tree/tree.js'
import {caseFiles} from './casefiles.js'
import {type Found, seriesFilesOf, statedBase} from './mails.js'
import {checkNewName, type Home, slug, writeCase} from './newcase.js'
import {guessModules, guessOptions, type Guess, type Reader, unbuiltFiles} from './options.js'

/** What a series did on a source: whether it is for that line. */
export type Tried = {line: string; label: string; fits: boolean; why: string; applied: Applied}

/** A case that was made of a series. */
export type Imported = {
  name: string
  folder: string
  /** The patchbench.yaml that was made for it. */
  settings: string | null
  title: string
  candidate: string
  patches: string[]
  /** What is to be known of the series itself; see Series. */
  notes: string[]
  lines: string[]
  base: string | null
  files: string[]
  options: Guess[]
  /** Those of the options that kconfigs/ lacks, which its fragment asks for. */
  lacking: Guess[]
  modules: string[]
  /** Source files of the series that no rule of the Makefiles builds, as far as can be seen. */
  unbuilt: string[]
}

export type ImportOptions = {found: Found; sources: readonly Source[]; home: Home; name: string; candidate: string}

/**
 * Makes a case of a series: for the lines whose source it applies to, with a
 * reproducer to start from. Nothing is made where it applies to none.
 */
export async function importSeries(context: Context, {found: {series}, sources, home, name, candidate}: ImportOptions): Promise<{tried: Tried[]; made?: Imported}> {
  await checkNewName(home, name, '--name')
  const tried: Tried[] = []
  for (const source of sources) tried.push(await tryOn(context, series, source))
  const fitting = tried.filter(({fits}) => fits)
  const [first] = fitting
  if (!first) return {tried}
  const source = sources[tried.indexOf(first)]!
  const read = readerOf(context.signal, source.directory, first.applied.commit!)
  const files = series.patches.flatMap((patch) => patch.files)
  const options = await guessOptions(read, files)
  const lacking = await lackingOf(context, source, options)
  const modules = await guessModules(read, files)
  const unbuilt = await unbuiltFiles(read, files)
  const lines = [...new Set(fitting.map(({line}) => line))]
  const title = titleOf(series)
  const base = statedBase(series)
  const own = await caseFiles(name, {title, tree: 'linux', kernels: lines, story: storyOf(series), candidate, options: lacking, modules, ...(base ? {base} : {})})
  const mails = lines.flatMap((line) => Object.entries(seriesFilesOf(series)).map(([file, content]) => [join('linux', candidate, line, file), {content}] as const))
  const folder = await writeCase(home, name, {...own, ...Object.fromEntries(mails)})
  const facts = {title, candidate, patches: series.patches.map((patch) => patch.title), notes: series.notes, lines, base: base ?? null}
  return {tried, made: {name, folder, settings: home.settings ?? null, ...facts, files: [...new Set(files.map(({path}) => path))], options, lacking, modules, unbuilt}}
}

/** A name for the case: the one that is given, that of the only file, or one of the title. */
export function nameFor(given: string | undefined, words: readonly string[], {series, range}: Found): string {
  if (given !== undefined) return given
  const [word = ''] = words
  const stem = words.length === 1 && range === undefined && !word.includes('@') ? slug(basename(word, extname(word)).replace(/^\d+[-_]/, '')) : ''
  const name = stem || slug(titleOf(series))
  if (name === '') throw new InputError('no name can be made of its title: name the case by --name')
  return name
}

async function tryOn(context: Context, series: Series, {directory, commit, label, line}: Source): Promise<Tried> {
  const applied = await applySeries(context, series, {git: directory, base: commit, where: label})
  const there = applied.patches.every(({state}) => state === 'already-applied')
  const failed = applied.patches.find(({state}) => state === 'conflict')
  const why = failed ? `'${failed.subject}' does not apply` : there ? 'it is in the tree already' : ''
  return {line, label, fits: applied.applied && !there, why, applied}
}

function readerOf(signal: AbortSignal, directory: string, commit: string): Reader {
  return async (path) => {
    const entry = (await entriesOf(signal, directory, commit, [path])).get(path)
    return entry?.mode.startsWith('100') ? await readBlob(signal, directory, entry.oid) : undefined
  }
}

/** The options that a kernel built for the case would lack. Where base has been built its own configuration tells, else the fragments do. */
async function lackingOf(context: Context, source: Source, options: readonly Guess[]): Promise<Guess[]> {
  const config = await configAtHand(context, await builtKernel(context, source))
  const asked = await readFragments(FRAGMENTS.map((name) => projectPath('kconfigs', `${name}.config`)))
  const has = (symbol: string) => asked.some((one) => one.symbol === symbol && one.value !== 'n') || new RegExp(`^CONFIG_${symbol}=[ym]$`, 'm').test(config ?? '')
  return options.filter(({symbol}) => !has(symbol))
}

function titleOf({cover: [cover], patches}: Series): string {
  const title = cover ? cover.subject.replace(/^(?:\s*(?:re:|\[[^\]]*\]))+\s*/i, '') : ''
  return title || patches[0]!.title
}

/** What the author says, without the list of patches and files that git adds to a cover letter. */
function storyOf({cover: [cover], patches}: Series): string {
  if (!cover) return patches[0]!.body
  return cover.body.split(/^(?:\S.* \(\d+\):$|---$| \S+ +\| +\d+ )/m)[0]!
}

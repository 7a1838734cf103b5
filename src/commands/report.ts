import {link, rm, writeFile} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {EXIT, InputError, systemCode} from '../lib/errors.js'
import {makeUnfinished} from '../lib/files.js'
import {compareRuns, differenceJson, differenceText} from '../report/difference.js'
import {junitXml} from '../report/junit.js'
import {runKtap} from '../report/ktap.js'
import {comparisonMarkdown} from '../report/markdown.js'
import {pageHtml} from '../report/page/html.js'
import {comparisonTable} from '../report/table.js'
import {readRun, type StoredRun} from '../run/folder.js'
import {type BugCommandOptions, bugCommand} from './bug.js'

export type ReportOptions = {compare?: boolean; output?: string} & Partial<BugCommandOptions> & Partial<Record<Format, boolean>>

type Format = 'html' | 'junit' | 'ktap' | 'markdown' | 'json'

/** A file a format: a run, and its text without the last newline. */
const FORMATS: Record<Format, (run: StoredRun) => string | Promise<string>> = {
  html: pageHtml,
  junit: junitXml,
  ktap: runKtap,
  markdown: async (run) => await comparisonMarkdown(run, {...given(run.about), folder: run.folder}),
  json: ({text}) => text,
}

/** `patchbench report [RUN]`: a run again, in another form; with --compare two of them. */
export async function reportCommand(names: readonly string[], options: ReportOptions, colour: boolean): Promise<{text: string; exit: number}> {
  const formats = (Object.keys(FORMATS) as Format[]).filter((format) => options[format])
  const forms = [...formats, ...(options.bug ? ['bug'] : [])]
  if (forms.length > 1) throw new InputError(`--${forms.join(' and --')}: a report has one form`)
  const stray = (['case', 'symptom', 'router'] as const).find((name) => options[name] !== undefined)
  if (stray && !options.bug) throw new InputError(`--${stray} belongs to --bug`)
  const {text, exit} = options.compare ? await difference(names, forms[0]) : await one(names, formats[0], options, colour)
  if (options.output === undefined) return {text: text.trimEnd(), exit}
  await writeNew(resolve(options.output), `${text.trimEnd()}\n`)
  return {text: `written to ${options.output}`, exit}
}

async function one(names: readonly string[], format: Format | undefined, {bug, ...options}: ReportOptions, colour: boolean) {
  if (names.length > 1) throw new InputError(`a report is about one run, not about ${names.length}: --compare takes two`)
  if (bug) return {text: await bugCommand(names[0], {...options, bug}), exit: EXIT.ok}
  const run = await readRun(names[0])
  const text = format ? await FORMATS[format](run) : [comparisonTable(run.results, colour), ...run.leftOut.map((words) => `\nleft out: ${words}`)].join('\n')
  return {text, exit: EXIT.ok}
}

async function difference(names: readonly string[], format: string | undefined) {
  if (names.length !== 2) throw new InputError(`--compare takes two runs, not ${names.length}`)
  if (format && format !== 'json') throw new InputError(`--compare --${format}: what changed is a table, or --json`)
  const [before, after] = [await readRun(names[0]), await readRun(names[1])]
  const cells = compareRuns(before.results, after.results)
  const text = format ? differenceJson({before, after}, cells) : differenceText(cells)
  return {text, exit: cells.every(({same}) => same) ? EXIT.ok : EXIT.missed}
}

function given(about: StoredRun['about']) {
  const {date = '', version = '', revision = '', command = '', accelerator = '', why = '', tools = []} = about
  return {date, version, revision, command, accelerator, why, tools}
}

/** Writes a file that is there whole or not at all, and never over another. */
async function writeNew(path: string, text: string): Promise<void> {
  const scratch = await makeUnfinished(join(dirname(path), '.patchbench-'), path)
  try {
    await writeFile(join(scratch, 'report'), text)
    await link(join(scratch, 'report'), path)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw new InputError(`--output ${path} is there already: name a new file, or remove it`)
    throw error
  } finally {
    await rm(scratch, {recursive: true, force: true})
  }
}

import pLimit from 'p-limit'
import {mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {availableParallelism, tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {git} from '../lib/git.js'
import {findProgram} from '../lib/hostpath.js'
import {run} from '../lib/process.js'
import {changedPaths} from '../kernel/copy.js'
import {checkOut} from '../tree/checkout.js'
import {entriesOf, readBlob} from '../tree/tree.js'
import {type History} from './fixes.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'

/** The tree's semantic patches (Documentation/dev-tools/coccinelle.rst). */
const FOLDER = 'scripts/coccinelle'

/** How long one of them may think about one file, in seconds. */
const PATIENCE = 60

/**
 * What the tree's semantic patches report about the .c files that a series
 * touches and did not report of them before: of one state of the files against
 * the other, so for the series as a whole.
 *
 * @param tip the commit with the series on the base
 */
export async function checkCoccinelle(context: Context, base: History, tip: string): Promise<Row> {
  if (!(await findProgram('spatch'))) return notRun('coccinelle', null, 'spatch is not installed (the package coccinelle)')
  const paths = (await changedPaths(context.signal, base.directory, base.commit, tip)).filter((path) => path.endsWith('.c'))
  if (paths.length === 0) return rowsOf('coccinelle', null, [], 'no .c file is touched')[0]!
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-coccinelle-'))
  try {
    const rules = await rulesOf(context.signal, base, join(folder, 'rules'))
    if (rules.length === 0) return notRun('coccinelle', null, `the tree has no semantic patches in ${FOLDER}`)
    const before = await reports(context, {...base, rules, paths, folder: join(folder, 'before')})
    const after = await reports(context, {directory: base.directory, commit: tip, rules, paths, folder: join(folder, 'after')})
    return summary(newReports(before.lines, after.lines), rules.length, after.broken)
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

function summary(complaints: readonly Complaint[], rules: number, broken: number): Row {
  const passed = broken === 0 ? `${rules} semantic patches` : `${rules - broken} semantic patches; ${broken} do not work with this spatch`
  if (broken === rules) return notRun('coccinelle', null, 'no semantic patch of the tree works with this spatch')
  const [first, ...more] = complaints
  if (!first) return rowsOf('coccinelle', null, [], passed)[0]!
  return rowsOf('coccinelle', null, [{...first, reason: more.length > 0 ? `${first.reason} (and ${more.length} more)` : first.reason}])[0]!
}

type Rule = {path: string; options: string[]}

async function rulesOf(signal: AbortSignal, {directory, commit}: History, folder: string): Promise<Rule[]> {
  const {stdout} = await git(directory, ['ls-tree', '-r', '-z', '--name-only', commit, '--', `${FOLDER}/`], {signal})
  const names = stdout.split('\0').filter((name) => name.endsWith('.cocci')).sort()
  if (names.length === 0) return []
  await mkdir(folder)
  await checkOut(signal, directory, commit, folder, names)
  const rules = await Promise.all(names.map(async (name) => ({path: join(folder, name), text: await readFile(join(folder, name), 'utf8')})))
  // As scripts/coccicheck does; a rule that can only patch has nothing to report.
  return rules.filter(({text}) => /^virtual .*\breport\b/m.test(text)).map(({path, text}) => ({path, options: optionsOf(text)}))
}

function optionsOf(text: string): string[] {
  return [...text.matchAll(/^\/\/\s*Options:[ \t]*(.*)$/gm)].flatMap(([, words = '']) => words.split(/\s+/)).filter((word) => /^--[a-z-]+$/.test(word))
}

type Files = History & {rules: readonly Rule[]; paths: readonly string[]; folder: string}

async function reports(context: Context, {directory, commit, rules, paths, folder}: Files): Promise<{lines: string[]; broken: number}> {
  const {signal} = context
  const entries = await entriesOf(signal, directory, commit, paths)
  const files: string[] = []
  for (const path of paths) {
    const entry = entries.get(path)
    if (!entry) continue
    await mkdir(join(folder, path, '..'), {recursive: true})
    await writeFile(join(folder, path), await readBlob(signal, directory, entry.oid))
    files.push(path)
  }
  if (files.length === 0) return {lines: [], broken: 0}
  const limit = pLimit(availableParallelism())
  let done = 0
  const results = await Promise.all(
    rules.map(async ({path, options}) =>
      await limit(async () => {
        const words = ['-D', 'report', '--no-show-diff', '--very-quiet', '--timeout', String(PATIENCE), '--cocci-file', path, ...options, ...files]
        const result = await run('spatch', words, {cwd: folder, signal, allowedExits: 'any'})
        context.progress(`coccinelle: ${(done += 1)} of ${rules.length} semantic patches`)
        return result
      }),
    ),
  )
  const lines = results.flatMap(({stdout}) => stdout.split('\n').filter((line) => REPORT.test(line)))
  return {lines, broken: results.filter(({exitCode}) => exitCode !== 0).length}
}

/** `net/a.c:12:3-9: ERROR: text`. */
const REPORT = /^([^\s:]+):(\d+):\d+-\d+: (.*)$/

/** The reports that were not there before; one that only moved is the same. */
export function newReports(before: readonly string[], after: readonly string[]): Complaint[] {
  const known = before.map(unplaced)
  return after.flatMap((line): Complaint[] => {
    const at = known.indexOf(unplaced(line))
    if (at !== -1) {
      known.splice(at, 1)
      return []
    }
    const [, path, number, reason = ''] = REPORT.exec(line)!
    return [{state: 'warned', place: `${path}:${number}`, reason}]
  })
}

function unplaced(line: string): string {
  return line.replace(/:\d+:\d+-\d+:/, ':').replace(/\bline \d+/g, 'line')
}

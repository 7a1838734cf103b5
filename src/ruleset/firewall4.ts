import {cp, mkdir, readdir, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {delimiter, join, relative} from 'node:path'
import {stripVTControlCharacters} from 'node:util'
import {type Candidate, type Case, FIREWALL4_LINE, seriesFor} from '../case/case.js'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {keyOf, sha256File} from '../lib/hash.js'
import {hostPath} from '../lib/hostpath.js'
import {lastLines} from '../lib/process.js'
import {codeOf} from '../series/identity.js'
import {readSeries} from '../series/series.js'
import {applyWhole} from '../tree/apply.js'
import {checkOut, type Source} from '../tree/source.js'
import {type Ruleset} from './ruleset.js'
import {runWithUcode, type Ucode} from './ucode.js'

/** A tree of firewall4, and what runs it. */
export type Firewall4 = {source: Source; ucode: Ucode}

/** Where firewall4 is to be had. */
export const FIREWALL4_PAGE = 'https://github.com/openwrt/firewall4'

/** `fw4 print` as firewall4's tests have it (tests/01_configuration/01_ruleset). */
const PRINT = '{% include("./root/usr/share/firewall4/main.uc", { getenv: (name) => name == "ACTION" ? "print" : null }) %}'

/** How firewall4's run_tests.sh starts ucode. */
const LIBRARIES = ['-S', '-T,', '-L./tests/lib', '-L./root/usr/share/ucode']

/** The options of the section `defaults` that a ruleset has besides those of the described router. */
type Settings = Record<string, string>

/**
 * The rulesets that firewall4 renders for a case's router, with a candidate's
 * series or without, and what its own tests say. They are an artefact of the
 * tree, the router and ucode.
 *
 * @throws CouldNotRun when the series does not apply, or the tree renders nothing
 */
export async function renderedRuleset(context: Context, one: Case, {source, ucode}: Firewall4, candidate?: Candidate): Promise<Ruleset> {
  const {router, variations} = settingsOf(one)
  const name = candidate?.name ?? 'base'
  const {commit, applied} = candidate ? await withSeries(context, source, candidate) : {commit: source.commit}
  const tree = applied?.tree ?? source.treeHash
  const inputs = {tree, router: await checksumsOf(router), variations, ucode: ucode.files, steps: 2}
  const made = await artefact(context, 'ruleset', keyOf(inputs), inputs, async (into) => {
    const folder = join(into, 'work')
    await mkdir(folder)
    await checkOut(context.signal, source.directory, commit, await newFolder(folder, 'tree'))
    context.progress(`rendering the rulesets of ${source.label}${candidate ? ` with ${name}` : ''}`)
    const warnings: string[] = []
    for (const [variation, settings] of Object.entries({'': {}, ...variations})) {
      const {text, complaints} = await render(context, {folder, router, ucode, variation, settings, where: `${source.label} (${name})`})
      await writeFile(join(into, `ruleset.${endingOf(variation)}`), text)
      warnings.push(...complaints)
    }
    await writeFile(join(into, 'warnings'), warnings.map((line) => `${line}\n`).join(''))
    await writeFile(join(into, 'tests.log'), await runTests(context, folder, ucode))
    await rm(folder, {recursive: true})
  })
  const endings = ['', ...Object.keys(variations)].map(endingOf)
  const files = Object.fromEntries(endings.map((ending) => [ending, join(made.directory, `ruleset.${ending}`)]))
  const notes = (await readFile(join(made.directory, 'warnings'), 'utf8')).split('\n').filter(Boolean)
  return {name, files, notes, tests: join(made.directory, 'tests.log'), ...(applied ? {applied} : {})}
}

/** `nft`, and `hardware.nft` of a variation. */
function endingOf(variation: string): string {
  return variation === '' ? 'nft' : `${variation}.nft`
}

function settingsOf({firewall4, name}: Case): {router: string; variations: Record<string, Settings>} {
  if (firewall4 === undefined) throw new TypeError(`the case ${name} describes no router`)
  return firewall4
}

async function withSeries(context: Context, source: Source, candidate: Candidate): Promise<{commit: string; applied?: NonNullable<Ruleset['applied']>}> {
  const path = seriesFor(candidate, FIREWALL4_LINE)
  const series = await readSeries(context.signal, [path])
  const {commit, tree} = await applyWhole(context, series, source, {name: `candidate ${candidate.name}`, path})
  return {commit, applied: {patches: series.patches.map(({title}) => title), series: codeOf(series), tree}}
}

async function newFolder(...path: string[]): Promise<string> {
  await mkdir(join(...path))
  return join(...path)
}

/** The files of a folder by their path in it. */
async function checksumsOf(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, {recursive: true, withFileTypes: true})
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort()
  return Object.fromEntries(await Promise.all(files.map(async (file) => [relative(folder, file), await sha256File(file)] as const)))
}

type Rendering = {
  /** Holds the tree. */
  folder: string
  router: string
  ucode: Ucode
  variation: string
  settings: Settings
  /** How tree and candidate are named to the user. */
  where: string
}

/** Has firewall4 print a ruleset; what it asks the system is answered from the described router by its own mocks. */
async function render(context: Context, {folder, router, ucode, variation, settings, where}: Rendering): Promise<{text: string; complaints: string[]}> {
  const mocks = await newFolder(folder, `router${variation && `-${variation}`}`)
  await cp(router, mocks, {recursive: true})
  await setDefaults(join(mocks, 'uci/firewall.json'), join(router, 'uci/firewall.json'), settings)
  const words = [...LIBRARIES, '-D', `MOCK_SEARCH_PATH=${JSON.stringify([mocks])}`, '-l', 'mocklib', '-l', 'fw4', '-']
  const {stdout, stderr, exitCode} = await runWithUcode(context, ucode, ucode.path, words, folder, {cwd: join(folder, 'tree'), input: PRINT})
  const complaints = stripVTControlCharacters(stderr).trim()
  const what = variation ? `the ruleset '${variation}'` : 'the ruleset'
  if (exitCode !== 0) throw new CouldNotRun(`${where} does not render ${what}`, lastLines(complaints, 15))
  const unknown = /^\[!\] No .*fixture defined.*\n.*\n +.*/m.exec(complaints)
  if (unknown) throw new CouldNotRun(`${where} asks for what the router of the case does not say (${router}), so ${what} is not what it would load`, unknown[0])
  return {text: `${stdout}\n`, complaints: complaints.split('\n').filter(Boolean).map((line) => `${variation ? `variation '${variation}': ` : ''}firewall4 says ${line.replace(/^\[!\] /, '')}`)}
}

/** Sets options of the section `defaults` in the mock of /etc/config/firewall. */
async function setDefaults(file: string, original: string, settings: Settings): Promise<void> {
  try {
    const config = JSON.parse(await readFile(file, 'utf8')) as {defaults?: Settings}
    await writeFile(file, JSON.stringify({...config, defaults: {...config.defaults, ...settings}}))
  } catch (error) {
    throw new InputError(`${original} is no UCI configuration as firewall4's tests write it: ${(error as Error).message}`)
  }
}

/** Runs firewall4's own tests; what they print. */
async function runTests(context: Context, folder: string, ucode: Ucode): Promise<string> {
  const tree = join(folder, 'tree')
  const script = await readFile(join(tree, 'run_tests.sh'), 'utf8').catch(() => {
    throw new CouldNotRun('this tree of firewall4 has no run_tests.sh, so nothing can be said of its own tests')
  })
  const bin = await newFolder(folder, 'bin')
  await symlink(ucode.path, join(bin, 'ucode'))
  // It works in /tmp, in a folder that is named by its process id and stays when it is killed.
  const own = join(folder, 'run_tests.sh')
  await writeFile(own, script.replaceAll('/tmp/test.', `${folder}/test.`))
  const env = {PATH: [bin, hostPath()].join(delimiter)}
  const {all} = await runWithUcode(context, ucode, 'bash', [own], folder, {cwd: tree, env})
  return `${stripVTControlCharacters(all).replaceAll(folder, '')}\n`
}

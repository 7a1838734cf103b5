import {readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {runConfined} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {lastLines} from '../lib/process.js'
import {projectPath} from '../lib/project.js'
import {type Asked, fragmentText} from './fragment.js'
import {buildPlaces, MAKE_ENVIRONMENT} from './make.js'

/**
 * Configures a kernel in its build folder, source/build: everything that is
 * not asked for is off as far as kconfig allows (allnoconfig).
 *
 * @throws InputError when kconfig dropped an option, with the dependency that is not met
 */
export async function configure(context: Context, build: string, asked: readonly Asked[]): Promise<void> {
  const fragment = join(build, 'asked.config')
  await writeFile(fragment, fragmentText(asked))
  const {exitCode, all} = await runConfined(context, 'make', ['-C', join(build, '..'), 'O=build', `KCONFIG_ALLCONFIG=${fragment}`, 'allnoconfig'], buildPlaces(build), {
    env: MAKE_ENVIRONMENT,
    allowedExits: 'any',
  })
  if (exitCode !== 0) throw new CouldNotRun('the kernel cannot be configured', lastLines(all, 10))
  const dropped = droppedOptions(asked, await readFile(join(build, '.config'), 'utf8'))
  if (dropped.length > 0) throw new InputError(await explain(context, build, asked, dropped))
}

export type Dropped = Asked & {/** What .config has instead; undefined where it has nothing. */ held: string | undefined}

/** What was asked for and is not in a .config. */
export function droppedOptions(asked: readonly Asked[], config: string): Dropped[] {
  const held = new Map([...config.matchAll(/^CONFIG_(\w+)=(.*)$/gm)].map(([, symbol, value]) => [symbol!, value!]))
  return asked.flatMap((one) => {
    const found = held.get(one.symbol)
    return (found ?? 'n') === one.value ? [] : [{...one, held: found}]
  })
}

async function explain(context: Context, build: string, asked: readonly Asked[], dropped: readonly Dropped[]): Promise<string> {
  const relations = await readRelations(context, build, dropped.map(({symbol}) => symbol))
  return dropped.map((one) => `${one.where}: CONFIG_${one.symbol}=${one.value} was dropped: ${reason(one, relations.get(one.symbol), asked)}`).join('\n')
}

/** Why kconfig did not take an option, from what it says of the symbol itself. */
export function reason({held}: Pick<Dropped, 'held'>, relations: string | undefined, asked: readonly Asked[] = []): string {
  if (!relations || !/^Defined at /m.test(relations)) return 'this kernel has no such option'
  const field = (name: string) => new RegExp(`^ *${name} *: *(.*)$`, 'm').exec(relations)?.[1]
  const selectors = selectedBy(relations)
  const choice = choiceWords(field('Choice'), field('Holder'), asked)
  const isVisible = field('Visible') !== 'no'
  // Told by kconfig: in an expression, a [=n] may stand under a `!` or beside a `||`.
  if (held === undefined && field('Dependencies') === 'not met') return `it depends on ${field('Depends on')}`
  if (!field('Prompt')) return `it has no prompt, ${selectors ? `other options select it: ${selectors}` : 'and no option selects it'}`
  if (held === undefined && choice) return isVisible ? choice : `it depends on ${field('Depends on')}; ${choice}`
  if (held !== undefined && selectors) return `it is ${held}: ${selectors}`
  const own = held === undefined ? 'it can be set' : `it is ${held}, and can be set`
  if (!isVisible) return `${own} only if ${field('Visible if') ?? field('Depends on')}`
  if (held !== undefined && field('Range')) return `it is ${held}, and has to be within ${field('Range')}`
  return `${held === undefined ? '' : `it is ${held}, and `}kconfig says\n${relations.slice(relations.indexOf('Symbol: ')).trim()}`
}

/** Of a choice that another member has, and where that was asked for. */
function choiceWords(choice: string | undefined, holder: string | undefined, asked: readonly Asked[]): string | undefined {
  if (choice === undefined || holder === undefined) return undefined
  const by = asked.find(({symbol, value}) => symbol === holder && value === 'y')
  return `of the choice '${choice}' only one is set, and that is CONFIG_${holder}${by ? `, which ${by.where} asks for: ask for one of them` : ''}`
}

function selectedBy(relations: string): string {
  const names = /^(?:Selected|Implied) by[^\n]*:\n((?: .*\n?)+)/m.exec(relations)?.[1]
  return (names ?? '').trim().replace(/^\s*- /gm, '').replaceAll('\n', ', ')
}

/** What the tree's own kconfig says of symbols (kconfigs/relations.c), by symbol; an empty text for one that it does not know. */
async function readRelations(context: Context, build: string, symbols: readonly string[]): Promise<Map<string, string>> {
  const folder = join(build, 'scripts/kconfig')
  const sources = join(build, '../scripts')
  const objects = (await readdir(folder)).filter((name) => name.endsWith('.o') && name !== 'conf.o')
  const include = ['-I', join(sources, 'kconfig'), '-I', join(sources, 'include')]
  const places = buildPlaces(build)
  const program = projectPath('kconfigs/relations.c')
  await runConfined(context, 'gcc', ['-o', 'relations', ...include, program, ...objects], {...places, reads: [...places.reads, program]}, {cwd: folder})
  // kconfig reads the compiler and the architecture from what make exports for a goal of this name.
  const goal = 'relationsconfig'
  const {stdout} = await runConfined(context, 'make', ['-C', '..', 'O=build', '-s', '--no-print-directory', `--eval=${goal}:; @scripts/kconfig/relations ${symbols.join(' ')}`, goal], places, {
    cwd: build,
    env: MAKE_ENVIRONMENT,
  })
  const parts = stdout.split(/^== (\w+)\n/m).slice(1)
  return new Map(parts.flatMap((part, index) => (index % 2 === 0 ? [[part, parts[index + 1] ?? '']] : [])))
}

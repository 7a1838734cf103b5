import {posix} from 'node:path'
import {type FilePatch} from '../series/diff.js'

/** A configuration option that a file of the tree is built under, or that a series brings. */
export type Guess = {symbol: string; /** The path that asks for it. */ path: string}

/** The text of a file of the tree; undefined where there is none. */
export type Reader = (path: string) => Promise<string | undefined>

/**
 * The options that the files of a series are built under, by the obj-$(CONFIG_X)
 * rules of the tree (Documentation/kbuild/makefiles.rst), those of the folders
 * above included; and the options that the series adds to Kconfig files. A guess:
 * neither ifdefs nor what the options depend on are looked at.
 */
export async function guessOptions(read: Reader, files: readonly FilePatch[]): Promise<Guess[]> {
  const makefiles = cached(async (folder: string) => await rulesIn(read, folder))
  const guesses = new Map<string, Guess>()
  for (const {path, hunks, kind} of files) {
    if (kind === 'delete') continue
    const added = /(?:^|\/)Kconfig[^/]*$/.test(path) ? optionsAdded(hunks.flatMap(({lines}) => lines)) : []
    const built = (/\.[cS]$/.test(path) ? await optionsOf(path.replace(/\.[cS]$/, '.o'), makefiles) : undefined) ?? []
    const askable = await Promise.all(built.map(async (symbol) => !(await isHidden(symbol, path, read))))
    for (const symbol of [...added, ...built.filter((_, index) => askable[index])]) if (!guesses.has(symbol)) guesses.set(symbol, {symbol, path})
  }
  return [...guesses.values()]
}

/** The .c and .S files of a series that no rule of the tree's Makefiles builds: by a name that is no rule's, or as a part of another file. A guess as well. */
export async function unbuiltFiles(read: Reader, files: readonly FilePatch[]): Promise<string[]> {
  const makefiles = cached(async (folder: string) => await rulesIn(read, folder))
  const sources = files.filter(({path, kind}) => kind !== 'delete' && /\.[cS]$/.test(path) && !APART.test(path)).map(({path}) => path)
  const rules = await Promise.all(sources.map(async (path) => await optionsOf(path.replace(/\.[cS]$/, '.o'), makefiles)))
  return [...new Set(sources.filter((_, index) => rules[index] === undefined))]
}

/** What is built by Makefiles of another kind, and is no part of the kernel. */
const APART = /^(?:tools|scripts|samples|usr|Documentation)\//

async function rulesIn(read: Reader, folder: string): Promise<Rule[]> {
  return parseMakefile((await read(posix.join(folder, 'Kbuild'))) ?? (await read(posix.join(folder, 'Makefile'))) ?? '')
}

/** Whether an option has no prompt, and comes by what selects it alone. */
async function isHidden(symbol: string, path: string, read: Reader): Promise<boolean> {
  const entry = await kconfigOf(symbol, path, read)
  return entry !== undefined && !/^\s+(?:bool|tristate|int|hex|string|prompt)\s+["']/m.test(entry)
}

/** What the Kconfig files of a path's folders say of an option; undefined where they do not. */
async function kconfigOf(symbol: string, path: string, read: Reader): Promise<string | undefined> {
  for (let folder = posix.dirname(path); ; folder = posix.dirname(folder)) {
    const text = (await read(posix.join(folder, 'Kconfig'))) ?? ''
    const [, entry] = new RegExp(`^(?:menu)?config ${symbol}\\n((?:[ \\t].*\\n|\\n)*)`, 'm').exec(text) ?? []
    if (entry !== undefined || folder === '.') return entry
  }
}

/** The modules that the C files of a series are part of, where their options are built as modules. */
export async function guessModules(read: Reader, files: readonly FilePatch[]): Promise<string[]> {
  const modules = new Set<string>()
  for (const {path} of files.filter((file) => file.path.endsWith('.c') && file.kind !== 'delete')) {
    const folder = posix.dirname(path)
    const rules = await rulesIn(read, folder)
    for (const {object, option} of wholes(posix.basename(path).replace(/c$/, 'o'), rules)) {
      if (option !== undefined && /^\s+(?:def_)?tristate\b/m.test((await kconfigOf(option, path, read)) ?? '')) modules.add(object.replace(/\.o$/, '').replaceAll('-', '_'))
    }
  }
  return [...modules]
}

/** `obj-$(CONFIG_X) += a.o b/`, or `a-$(CONFIG_X) += c.o` for a part of a. */
type Rule = {/** `obj`, or what it is a part of. */ whole: string; /** Undefined: always. */ option: string | undefined; parts: string[]}

/** The rules of a Makefile that say what is built; conditions around them are passed over. */
export function parseMakefile(text: string): Rule[] {
  return text.replace(/\\\n/g, ' ').split('\n').flatMap((line) => {
    const [, whole, key, value] = /^\s*([\w.-]+?)-(\$\(CONFIG_\w+(?::m=y)?\)|y|m|objs)\s*[:+]?=\s*([^#]*)/.exec(line) ?? []
    if (whole === undefined || key === undefined) return []
    return [{whole: whole === 'lib' ? 'obj' : whole, option: /CONFIG_(\w+)/.exec(key)?.[1], parts: value!.trim().split(/\s+/).filter(Boolean)}]
  })
}

function optionsAdded(lines: readonly string[]): string[] {
  return lines.flatMap((line) => /^\+(?:menu)?config (\w+)\s*$/.exec(line)?.[1] ?? [])
}

type Makefiles = (folder: string) => Promise<Rule[]>

/** The options of an object or a folder (its name ends in `/`), the nearest first; undefined where no rule builds it. */
async function optionsOf(path: string, makefiles: Makefiles): Promise<string[] | undefined> {
  for (let folder = posix.dirname(path); ; folder = posix.dirname(folder)) {
    const name = folder === '.' ? path : path.slice(folder.length + 1)
    const rules = await makefiles(folder)
    const own = optionsIn(name, rules)
    if (own !== undefined) return folder === '.' ? own : [...new Set([...own, ...((await optionsOf(`${folder}/`, makefiles)) ?? [])])]
    if (folder === '.') return undefined
  }
}

/** The options in one Makefile, up to `obj`; undefined where it does not build the part. */
function optionsIn(part: string, rules: readonly Rule[], seen: readonly string[] = []): string[] | undefined {
  const using = rules.filter(({parts}) => parts.includes(part))
  if (using.length === 0 || seen.includes(part)) return undefined
  // One whose option is not needed builds it whatever the others say.
  const [rule] = [...using.filter(({option}) => option === undefined), ...using]
  const own = rule!.option === undefined ? [] : [rule!.option]
  if (rule!.whole === 'obj') return own
  return [...own, ...(optionsIn(`${rule!.whole}.o`, rules, [...seen, part]) ?? [])]
}

/** What an object ends in: itself or what it is a part of, with the option of that. */
function wholes(object: string, rules: readonly Rule[], seen: readonly string[] = []): {object: string; option: string | undefined}[] {
  if (seen.includes(object)) return []
  return rules
    .filter(({parts}) => parts.includes(object))
    .flatMap(({whole, option}) => (whole === 'obj' ? [{object, option}] : wholes(`${whole}.o`, rules, [...seen, object])))
}

function cached<T>(make: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const made = new Map<string, Promise<T>>()
  return async (key) => {
    const found = made.get(key) ?? make(key)
    made.set(key, found)
    return await found
  }
}

import Handlebars from 'handlebars'
import {readFile} from 'node:fs/promises'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {type Guess} from './options.js'

/** What is known of a new case. */
export type NewCase = {
  title: string
  tree: 'linux'
  kernels: readonly string[]
  /** What the author of a series says of it. */
  story?: string
  candidate?: string
  base?: string
  /** Options that a kernel needs for it and that kconfigs/ does not ask for. */
  options?: readonly Guess[]
  modules?: readonly string[]
}

/** A file of a new case, by its path in it. */
export type NewFile = {content: string | Uint8Array; executable?: boolean}

/** case.yaml, a reproducer to start from, README.md, and a kconfig fragment where one is needed. */
export async function caseFiles(name: string, one: NewCase): Promise<Record<string, NewFile>> {
  const title = oneLine(one.title)
  const options = one.options ?? []
  const fragment = options.length > 0 ? `${name}.config` : ''
  const facts = {
    ...one,
    // What JSON quotes, YAML reads.
    title: JSON.stringify(title),
    kernels: one.kernels.map((line) => `'${line}'`).join(', '),
    kconfig: fragment,
    modules: (one.modules ?? []).join(', '),
  }
  return {
    'case.yaml': {content: await rendered('case.yaml.hbs', facts)},
    'README.md': {content: await rendered('README.md.hbs', {title, story: indented(one.story ?? '')})},
    reproduce: {content: await rendered('reproduce.hbs', {title: title.replace(/["\\]/g, "'")}), executable: true},
    ...(fragment ? {[fragment]: {content: fragmentFor(title, options)}} : {}),
  }
}

async function rendered(template: string, facts: Record<string, unknown>): Promise<string> {
  return Handlebars.compile(await readFile(projectPath('src/author', template), 'utf8'), {noEscape: true, strict: false})(facts)
}

function fragmentFor(title: string, options: readonly Guess[]): string {
  const width = Math.max(...options.map(({symbol}) => symbol.length))
  const lines = options.map(({symbol, path}) => `CONFIG_${symbol}=y${' '.repeat(width - symbol.length)}  # ${oneLine(path)}\n`)
  return `# For '${title}'. Guessed by the rules of the tree's Makefiles: an option that depends on\n# others needs these as well, and the build names them.\n${lines.join('')}`
}

/** As Markdown shows a text as it is. */
function indented(text: string): string {
  return printable(text).trim().split('\n').map((line) => (line.trim() === '' ? '' : `    ${line}`)).join('\n')
}

function oneLine(text: string): string {
  return printable(text).replace(/\s+/g, ' ').trim()
}

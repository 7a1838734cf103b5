import Handlebars from 'handlebars'
import {readFile} from 'node:fs/promises'
import {projectPath} from '../../lib/project.js'
import {type StoredRun} from '../../run/folder.js'
import {type Result} from '../../run/results.js'
import {badgeOf, sectionOf} from './section.js'

const PARTIALS = ['sequence.svg', 'timeline.svg', 'stacks.svg', 'drawn', 'capture', 'pair'] as const

/**
 * A run as one HTML page that needs nothing else: no script, no network, its
 * evidence in it. All that is put into it is escaped by Handlebars.
 */
export async function pageHtml(run: StoredRun): Promise<string> {
  const renderer = Handlebars.create()
  renderer.registerHelper({plus: (a: number, b: number) => a + b, minus: (a: number, b: number) => a - b, halve: (a: number) => a / 2, is: (a: unknown, b: unknown) => a === b})
  for (const name of PARTIALS) renderer.registerPartial(name.replace('.', '-'), await template(`${name}.hbs`))
  const page = renderer.compile(await template('page.html.hbs'), {strict: true})
  return page({...(await modelOf(run)), style: new Handlebars.SafeString(await template('style.css'))})
}

async function template(name: string): Promise<string> {
  return await readFile(projectPath('src/report/page', name), 'utf8')
}

async function modelOf(run: StoredRun) {
  const {results, about} = run
  const missed = results.filter(({verdict, expected}) => verdict !== expected)
  const names = [...new Set(results.map((result) => result.case))]
  const sections = await Promise.all(run.pairs.map(async (record, index) => await sectionOf(run, record, `p${index}`)))
  const met = results.length - missed.length
  return {
    isMet: missed.length === 0 && results.length > 0,
    summary: missed.length === 0 ? `All ${results.length} verdicts are as expected` : `${missed.length} of ${results.length} verdicts are not as expected`,
    title: `patchbench: ${met} of ${results.length} verdicts as expected`,
    about: {date: '', version: '', revision: '', command: '', accelerator: '', why: '', ...definedOf(about), tools: about.tools ?? []},
    leftOut: run.leftOut,
    cases: names.map((name, index) => {
      const own = sections.filter(({record}) => record.case === name)
      return {id: `c${index}`, name, title: own[0]?.record.title ?? '', ...matrixOf(results.filter((result) => result.case === name), own), pairs: own}
    }),
  }
}

function definedOf(about: StoredRun['about']): Record<string, unknown> {
  return Object.fromEntries(Object.entries(about).filter(([, value]) => value !== undefined))
}

/** The verdicts of a case: a row a variant with a fix, a column a kernel. */
function matrixOf(results: readonly Result[], sections: readonly Awaited<ReturnType<typeof sectionOf>>[]) {
  const kernels = [...new Set(results.map(({kernel}) => kernel))]
  const rows = [...new Set(results.map(({variant, candidate}) => JSON.stringify([variant, candidate])))]
  return {
    kernels,
    rows: rows.map((key) => {
      const [variant, candidate] = JSON.parse(key) as [Result['variant'], string | null]
      const cells = kernels.map((kernel) => {
        const result = results.find((one) => one.kernel === kernel && one.variant === variant && one.candidate === candidate)
        const section = sections.find(({record}) => record.kernel === kernel)
        return result && section ? {badge: badgeOf(result), link: section.id} : null
      })
      return {variant, fix: candidate ?? '', cells}
    }),
  }
}

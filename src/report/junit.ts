import Handlebars from 'handlebars'
import {readFile} from 'node:fs/promises'
import {projectPath} from '../lib/project.js'
import {type StoredRun} from '../run/folder.js'
import {type Result} from '../run/results.js'
import {titleOf} from './symptom.js'

/** What XML 1.0 cannot hold and printable() leaves: lone surrogates and the two noncharacters. */
const NO_XML = /[\p{Surrogate}\ufffe\uffff]/gu

/**
 * A run as JUnit XML, as CI systems read it: a suite a case on a kernel, a
 * test case a cell. A cell passes when its verdict is the expected one, so a
 * base that shows the bug is no failure. could-not-run is an error.
 */
export async function junitXml(run: StoredRun): Promise<string> {
  const template = await readFile(projectPath('src/report/junit.xml.hbs'), 'utf8')
  const suites = run.pairs.map((record) => {
    const results = run.results.filter((result) => result.case === record.case && result.kernel === record.kernel)
    const seconds = record.sessions.reduce((total, session) => total + session.seconds.total, 0)
    const cells = results.map(cellOf)
    return {name: `${record.case} on ${record.kernel}`, title: record.title, date: (run.about.date ?? '').replace(/\.\d+Z$/, ''), seconds: seconds.toFixed(3), cells, ...countsOf(cells)}
  })
  const seconds = suites.reduce((total, suite) => total + Number(suite.seconds), 0).toFixed(3)
  const xml = Handlebars.create().compile(template, {strict: true})({suites, seconds, ...countsOf(suites.flatMap(({cells}) => cells))})
  return xml.replace(NO_XML, '\ufffd')
}

function cellOf(result: Result) {
  const {verdict, expected, reasons, kernel} = result
  const missed = verdict !== expected
  return {
    name: titleOf(result),
    className: `${result.case}.${kernel.replaceAll('.', '_').replaceAll(' ', '-')}`,
    message: `${verdict}, expected ${expected}`,
    isError: missed && verdict === 'could-not-run',
    isFailure: missed && verdict !== 'could-not-run',
    reasons: reasons.join('\n'),
    output: result.tests.map(({name, role, claimed, variant, observed}) => `${variant.padEnd(7)} ${name} (${role}${claimed ? '' : ', not claimed'})${observed.variant ? `: ${observed.variant}` : ''}`).join('\n'),
  }
}

function countsOf(cells: readonly {isError: boolean; isFailure: boolean}[]) {
  return {tests: cells.length, failures: cells.filter(({isFailure}) => isFailure).length, errors: cells.filter(({isError}) => isError).length}
}

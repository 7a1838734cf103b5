import {readFile} from 'node:fs/promises'
import {CouldNotRun} from '../lib/errors.js'
import {lastLines} from '../lib/process.js'
import {type KeptRuleset} from '../ruleset/ruleset.js'
import {parseSuite, type Suite} from '../verdict/suite.js'

/**
 * What the tests of the tree that a ruleset was rendered by said; undefined of a ruleset that nothing rendered.
 *
 * @throws CouldNotRun when that is no whole run
 */
export async function suiteOf({name, tests}: Pick<KeptRuleset, 'name' | 'tests'>): Promise<Suite | undefined> {
  if (tests === undefined) return undefined
  const text = await readFile(tests, 'utf8')
  const suite = parseSuite(text)
  if (suite === undefined) throw new CouldNotRun(`the run of firewall4's own tests (${name}) is not whole`, lastLines(text, 5))
  return suite
}

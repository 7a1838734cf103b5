import {copyFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Candidate, candidateVariant, type Case, type RulesetFiles} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {sha256File} from '../lib/hash.js'
import {type Firewall4, renderedRuleset} from './firewall4.js'

/** What a reproducer loads into its router: data, wherever it came from. */
export type Ruleset = {
  /** The candidate's name, or `base`. */
  name: string
  /** One file a form, which the reproducer loads, and more of variations. */
  files: RulesetFiles
  /** What the reader of a verdict has to know of it besides. */
  notes: string[]
  /** What the tests of the tree that rendered it printed, where there are some. */
  tests?: string
  /** The series that the tree was rendered with: the subjects, its codeOf, and what git calls the tree. */
  applied?: {patches: string[]; series: string; tree: string}
}

/** A ruleset as a run keeps it: copies of the files, which its sessions load and nobody changes any more. */
export type KeptRuleset = Ruleset & {sha256: Record<string, string>}

/** Whether the reproducer of a case is given a ruleset at all. */
export function hasRulesets(one: Pick<Case, 'tree'>): boolean {
  return candidateVariant(one) === 'ruleset'
}

/**
 * The ruleset of a candidate; of base where none is named.
 *
 * @param firewall4 what renders it, where the case is about firewall4
 * @throws CouldNotRun when it cannot be made, with the reason
 */
export async function rulesetOf(context: Context, one: Case, candidate?: Candidate, firewall4?: Firewall4): Promise<Ruleset> {
  if (one.tree === 'firewall4') {
    if (firewall4 === undefined) throw new CouldNotRun(`${one.name} needs a tree of firewall4, and none was named`)
    return await renderedRuleset(context, one, firewall4, candidate)
  }
  const files = candidate === undefined ? one.baseRuleset : candidate.ruleset
  if (files === undefined) throw new TypeError(`there are no rulesets of the tree ${one.tree}`)
  return {name: candidate?.name ?? 'base', files, notes: []}
}

/** Copies a ruleset into a folder, as NAME.nft and its like, and what tests printed as NAME.tests.log. */
export async function keepRuleset(ruleset: Ruleset, folder: string): Promise<KeptRuleset> {
  await makeFolder(folder)
  const kept: KeptRuleset = {...ruleset, files: {}, sha256: {}}
  for (const [ending, from] of Object.entries(ruleset.files)) {
    const path = join(folder, `${ruleset.name}.${ending}`)
    await copyFile(from, path)
    kept.files[ending] = path
    kept.sha256[ending] = await sha256File(path)
  }
  if (ruleset.tests !== undefined) {
    kept.tests = join(folder, `${ruleset.name}.tests.log`)
    await copyFile(ruleset.tests, kept.tests)
  }
  return kept
}

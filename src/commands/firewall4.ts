import {type Case} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {type Firewall4, FIREWALL4_PAGE} from '../ruleset/firewall4.js'
import {findUcode} from '../ruleset/ucode.js'
import {sourceTree} from '../tree/source.js'
import {type KernelOptions} from './kernels.js'

export type Firewall4Options = {
  /** The program that runs firewall4; else the one on PATH. */
  ucode?: string
}

/**
 * What cases of the tree firewall4 need, and the options without it: with one
 * of them --source and --base name a tree of firewall4, and the kernels of all
 * cases are chosen as ever.
 *
 * @throws CouldNotRun where there is no firewall4 or no ucode to be had
 */
export async function chosenFirewall4<Options extends KernelOptions & Firewall4Options>(
  context: Context,
  cases: readonly Case[],
  options: Options,
): Promise<{options: Options; firewall4?: Firewall4}> {
  const {source: from, base, ucode: path, ...others} = options
  const names = cases.filter(({tree}) => tree === 'firewall4').map(({name}) => name)
  if (names.length === 0) {
    if (path !== undefined) throw new InputError('--ucode is for cases of the tree firewall4, and none is named')
    return {options}
  }
  if (from === undefined && base !== undefined) throw new InputError('--base is a revision of --source, which is missing')
  if (from === undefined) throw new CouldNotRun(`${names.join(' and ')} needs a tree of firewall4: name a clone, a git URL or a tarball with --source (${FIREWALL4_PAGE})`)
  const source = await sourceTree(context, {tree: 'firewall4', from, base, refresh: others.refresh})
  return {options: others as Options, firewall4: {source, ucode: await findUcode(context, path)}}
}
